"""Feed items to a crew of workers, whoever they are, and give those whose worker died a second try alone."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Protocol, TypeVar

from transfer.errors import InputError
from zoo_index.engines.engine import Done, Lost, text_of
from zoo_index.errors import EngineError

__all__ = ["Crew", "Outcome", "Task", "closed_error", "drive", "packed_job"]

Item = TypeVar("Item")
Value = TypeVar("Value")

Outcome = Done[bytes] | Lost
"""What comes back from a worker: the value still packed."""


@dataclass(frozen=True, slots=True)
class Task:
    """One item on its way to a worker.

    Parameters
    ----------
    ticket : int
    payload : bytes
        The item, packed.
    alone : bool
        Whether it is run in a fresh process, while nothing else of its run is.
    """

    ticket: int
    payload: bytes
    alone: bool = False


class Crew(Protocol):
    """Workers of one run."""

    @property
    def window(self) -> int:
        """How many items may be on their way at once."""

    def submit(self, task: Task) -> None:
        """Take an item; never waits. An `alone` one comes only when nothing is on its way."""

    def next(self, *, wait: bool) -> tuple[int, Outcome] | None:
        """Return the ticket and outcome of some item; None where there is none yet and `wait` is false."""

    def close(self) -> None:
        """End every worker, whatever it is doing."""


def closed_error() -> EngineError:
    """Return what a run raises whose engine was closed before it was over."""
    return EngineError("expected an engine that is open until its runs are over, it was closed; open another one")


def packed_job(function: Callable[[Any], Any], prepare: Callable[[], object] | None) -> bytes:
    """Pack what workers do.

    Raises
    ------
    InputError
        If a worker could not import it.
    """
    try:
        packed = pickle.dumps((function, prepare))
    except Exception as error:
        raise InputError(f"expected a function that worker processes can import, got {text_of(error)}") from error
    if b"__main__" in packed:
        raise InputError(
            f"expected a function that worker processes can import, got {function!r} of the program itself; "
            "put it into a module"
        )
    return packed


def drive(crew: Crew, items: Iterable[Item]) -> Generator[tuple[Item, Done[Any] | Lost]]:
    """Run items through a crew, which is closed in the end; see `Engine.run`."""
    source, more = iter(items), True
    tickets = count()
    running: dict[int, tuple[Item, Task]] = {}
    suspects: list[tuple[Item, Task]] = []
    try:
        while more or running:
            if more and len(running) < crew.window:
                try:
                    item = next(source)
                except StopIteration:
                    more = False
                    continue
                try:
                    task = Task(next(tickets), pickle.dumps(item))
                except Exception as error:
                    yield item, Lost(f"it cannot be sent to a worker: {text_of(error)}", "transport")
                    continue
                running[task.ticket] = item, task
                crew.submit(task)
            # no result waits for an item that is slow to come
            found = crew.next(wait=not (more and len(running) < crew.window))
            if found is None:
                continue
            ticket, outcome = found
            item, task = running.pop(ticket)
            if isinstance(outcome, Lost) and outcome.cause == "death":
                suspects.append((item, task))
            else:
                yield item, _unpacked(outcome)
        for item, task in suspects:
            crew.submit(replace(task, alone=True))
            found = crew.next(wait=True)
            assert found is not None
            outcome = found[1]
            if isinstance(outcome, Lost) and outcome.cause == "death":
                outcome = replace(outcome, reason=f"{outcome.reason}, also when it was tried again alone")
            yield item, _unpacked(outcome)
    finally:
        crew.close()


def _unpacked(outcome: Outcome) -> Done[Any] | Lost:
    if isinstance(outcome, Lost):
        return outcome
    try:
        return Done(pickle.loads(outcome.value))
    except Exception as error:
        return Lost(f"its result cannot be read: {text_of(error)}", "transport")
