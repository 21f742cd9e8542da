"""The engine without workers: items run in this process, which a network's code can kill or hang."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

from zoo_index.engines.engine import Done, Engine, Lost, text_of
from zoo_index.errors import EngineError

__all__ = ["InlineEngine"]

Item = TypeVar("Item")
Value = TypeVar("Value")


class InlineEngine(Engine):
    """Run items one after the other, here: the quickest for a few, and the one to debug with."""

    def run(
        self,
        function: Callable[[Item], Value],
        items: Iterable[Item],
        *,
        seconds: float | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> Generator[tuple[Item, Done[Value] | Lost]]:
        """Call a function on every item, in their order (see `Engine.run`).

        Raises
        ------
        EngineError
            If a time limit is asked for: a process cannot end its own work.
        """
        if seconds is not None:
            raise EngineError(
                f"expected no time limit with the engine inline, got {seconds:g} s; use --engine local"
            )
        return _results(function, items, prepare)


def _results(
    function: Callable[[Item], Value], items: Iterable[Item], prepare: Callable[[], object] | None
) -> Generator[tuple[Item, Done[Value] | Lost]]:
    if prepare is not None:
        prepare()
    for item in items:
        try:
            outcome: Done[Value] | Lost = Done(function(item))
        except Exception as error:
            outcome = Lost(text_of(error), "exception")
        yield item, outcome
