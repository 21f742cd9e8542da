"""What every engine promises.

An engine runs one function over many items. An item that kills its worker, takes too long or raises is lost
with a reason and costs nothing but itself; every other item is done. A death may be a neighbour's fault, so
an item whose worker died is tried once more, alone, before it is given up; one that took too long is not.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Literal, Self, TypeVar

__all__ = ["Cause", "Done", "Engine", "Lost", "text_of"]

Item = TypeVar("Item")
Value = TypeVar("Value")

Cause = Literal["death", "time", "exception", "transport"]


@dataclass(frozen=True, slots=True)
class Done(Generic[Value]):
    """What the function returned for an item."""

    value: Value


@dataclass(frozen=True, slots=True)
class Lost:
    """Why there is no value for an item.

    Parameters
    ----------
    reason : str
        For people.
    cause : {'death', 'time', 'exception', 'transport'}
        Its worker died twice, it took too long, the function raised, or the item or its value cannot be
        sent between processes.
    """

    reason: str
    cause: Cause


class Engine(ABC):
    """Where a function is run over items; a context manager."""

    @abstractmethod
    def run(
        self,
        function: Callable[[Item], Value],
        items: Iterable[Item],
        *,
        seconds: float | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> Generator[tuple[Item, Done[Value] | Lost]]:
        """Call a function on every item.

        Parameters
        ----------
        function : callable
            Importable by workers, as are the classes of items and values.
        items : iterable
            Taken one by one as they are needed, in the caller's thread.
        seconds : float, optional
            Wall time that one item may take, from when it starts to run.
        prepare : callable, optional
            Called once in each worker before its first item; its time counts for no item.

        Yields
        ------
        item
        Done or Lost
            Each as soon as it is there, in any order. Closing the generator stops all workers.

        Raises
        ------
        EngineError
            If no worker can be started, or all of them are lost; what was yielded stands.
        """

    def close(self) -> None:
        """Let go of what the engine holds."""
        return

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def text_of(error: BaseException) -> str:
    """Return an error's type and message, whatever its code makes of being printed."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__
