"""What changed from one generation of the index to another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from transfer.errors import InputError
from zoo_index.database import queries

if TYPE_CHECKING:
    from zoo_index.database.store import Store

__all__ = ["Difference", "difference"]


@dataclass(frozen=True)
class Difference:
    """What changed; names of architectures and entries, sorted, with the catalogue before architectures.

    Parameters
    ----------
    since, until : int
        Generations.
    new, changed, retired : tuple of str
        Architectures: that came, that have another structure or were standardized otherwise, that went.
    entries_new, entries_changed, entries_retired : tuple of str
    """

    since: int
    until: int
    new: tuple[str, ...]
    changed: tuple[str, ...]
    retired: tuple[str, ...]
    entries_new: tuple[str, ...]
    entries_changed: tuple[str, ...]
    entries_retired: tuple[str, ...]


def difference(store: Store, since: int | None = None, until: int | None = None) -> Difference:
    """Compare two generations.

    Parameters
    ----------
    store : Store
    since : int, optional
        By default the one before `until`.
    until : int, optional
        By default the present one.

    Raises
    ------
    InputError
        If there is no such generation, or what stood in it was deleted since.
    """
    with store.reading() as connection:
        present = queries.generation(connection)
        until = present if until is None else until
        since = max(0, until - 1) if since is None else since
        oldest = queries.oldest_whole_generation(connection)
        if not oldest <= since <= until <= present:
            raise InputError(
                f"expected generations from {oldest} to {present}, the older one first, got {since} and {until}; "
                "see: zoo index status"
            )
        architectures = _parts(
            queries.architecture_marks(connection, since), queries.architecture_marks(connection, until)
        )
        entries = _parts(queries.entry_marks(connection, since), queries.entry_marks(connection, until))
    return Difference(since, until, *architectures, *entries)


def _parts(before: dict[str, int], after: dict[str, int]) -> tuple[tuple[str, ...], ...]:
    """Names that came, that are another row now, and that went."""
    return (
        tuple(sorted(after.keys() - before.keys())),
        tuple(sorted(name for name in after.keys() & before.keys() if after[name] != before[name])),
        tuple(sorted(before.keys() - after.keys())),
    )
