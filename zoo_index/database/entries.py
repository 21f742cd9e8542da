"""Entries of the index as people ask for them: all, by a name that a user typed, of some architectures."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from zoo_index.database import queries
from zoo_index.errors import UnknownNameError
from zoo_index.foundation.plain_text import plain

if TYPE_CHECKING:
    from zoo_index.database.store import Store

__all__ = ["Entries", "Entry"]

Entry = dict[str, Any]
"""A row of `queries.entry_rows`."""


class Entries:
    """Reads the entries of one generation of the index.

    Parameters
    ----------
    store : Store
    generation : int
        0 where there is no index: then there are no entries.
    """

    def __init__(self, store: Store, generation: int) -> None:
        self._store = store
        self._generation = generation

    @cached_property
    def n_architectures(self) -> int:
        """How many architectures there are."""
        if not self._generation:
            return 0
        with self._store.reading() as connection:
            return queries.n_architectures(connection, self._generation)

    @cached_property
    def all(self) -> list[Entry]:
        """Every entry, the preferred one of each architecture first."""
        if not self._generation:
            return []
        with self._store.reading() as connection:
            return queries.entry_rows(connection, self._generation)

    def of(self, architectures: Sequence[int]) -> list[Entry]:
        """Entries of some architectures, the preferred one of each first."""
        with self._store.reading() as connection:
            return queries.entry_rows(connection, self._generation, architectures=architectures)

    def find(self, name: str) -> Entry:
        """Return the entry of a name; of an architecture's name the preferred entry, timm's first.

        A name that a catalogue gave up leads to what it is called now.

        Raises
        ------
        UnknownNameError
            If there is none; the message names the nearest ones.
        """
        found = self.get(name)
        if found is not None:
            return found
        names = []
        if self._generation:
            with self._store.reading() as connection:
                names = queries.names_like(connection, self._generation, plain(name))
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "see: zoo list"
        raise UnknownNameError(f"expected an entry or architecture of the index, got {name!r}; {hint}")

    def get(self, name: str) -> Entry | None:
        """Return the entry that `find` would, or None."""
        if not self._generation or any("\ud800" <= char <= "\udfff" for char in name):  # no text, so no name
            return None
        found = self._named(name)
        for other in () if found else self._later_names(name):
            found = found or self._named(other)
        return found

    def _named(self, name: str) -> Entry | None:
        with self._store.reading() as connection:
            rows = queries.entry_rows(connection, self._generation, name=name)
        found = [row for row in rows if row["name"] == name] or sorted(
            rows, key=lambda row: (row["catalogue"] != "timm", row["position"])
        )
        return found[0] if found else None

    def _later_names(self, name: str) -> list[str]:
        """Return what an entry or architecture of another time may be called now, the likeliest first."""
        architecture, _, tag = name.partition(".")
        with self._store.reading() as connection:
            exact = queries.aliases(connection, name)
            renamed = queries.aliases(connection, architecture) if tag else []
        return [*exact, *(f"{other.partition('.')[0]}.{tag}" for other in renamed), *renamed]
