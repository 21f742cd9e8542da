"""Entries of the index as people ask for them: all, by a name that a user typed, of some architectures."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from zoo_index.database import queries
from zoo_index.errors import UnknownNameError
from zoo_index.plain_text import plain

if TYPE_CHECKING:
    from zoo_index.database.store import Store

__all__ = ["Entries", "Entry"]

Entry = dict[str, Any]
"""A row of `queries.entry_rows`."""


class Entries:
    """Reads entries, all of them once per generation of the index.

    Parameters
    ----------
    store : Store
        Where there is no database, there are no entries.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._all: tuple[int, list[Entry]] | None = None

    def n_architectures(self) -> int:
        """Count the architectures of the index."""
        if not self._store.exists():
            return 0
        with self._store.reading() as connection:
            return queries.n_architectures(connection)

    def all(self) -> list[Entry]:
        """Every entry, the preferred one of each architecture first."""
        if not self._store.exists():
            return []
        with self._store.reading() as connection:
            generation = queries.state(connection)[0]
            if self._all is None or self._all[0] != generation:
                self._all = (generation, queries.entry_rows(connection))
        return self._all[1]

    def of(self, architectures: Sequence[int]) -> list[Entry]:
        """Entries of some architectures, the preferred one of each first."""
        with self._store.reading() as connection:
            return queries.entry_rows(connection, architectures=architectures)

    def find(self, name: str) -> Entry:
        """Return the entry of a name; of an architecture's name the preferred entry, timm's first.

        Raises
        ------
        UnknownNameError
            If there is none; the message names the nearest ones.
        """
        found = self.get(name)
        if found is not None:
            return found
        with self._store.reading() as connection:
            names = queries.names_like(connection, plain(name))
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "see: zoo list"
        raise UnknownNameError(f"expected an entry or architecture of the index, got {name!r}; {hint}")

    def get(self, name: str) -> Entry | None:
        """Return the entry that `find` would, or None."""
        if not self._store.exists() or any("\ud800" <= char <= "\udfff" for char in name):  # no text, so no name
            return None
        with self._store.reading() as connection:
            rows = queries.entry_rows(connection, name=name)
        found = [row for row in rows if row["name"] == name] or sorted(
            rows, key=lambda row: (row["catalogue"] != "timm", row["position"])
        )
        return found[0] if found else None
