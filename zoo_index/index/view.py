"""One generation of the index, as a question sees it from its beginning to its end."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from zoo_index.database import queries
from zoo_index.database.entries import Entries

if TYPE_CHECKING:
    from zoo_index.database.store import Store
    from zoo_index.index.search import Search

__all__ = ["View", "look"]


class View:
    """What stands in a generation; it stays the same while a refresh makes the next one.

    Parameters
    ----------
    store : Store
    generation : int
        0 where there is no index yet.
    """

    def __init__(self, store: Store, generation: int) -> None:
        self._store = store
        self.generation = generation
        self.entries = Entries(store, generation)

    @cached_property
    def search(self) -> Search:
        """The matcher's tables; imported late, with numpy and numba: listing entries must not wait for them."""
        from zoo_index.index.search import Search

        return Search(self._store, self.generation)


def look(store: Store, before: View | None = None) -> View:
    """Return a view of the present generation: the one from before, with what it read, if it is that."""
    generation = 0
    if store.exists():
        with store.reading() as connection:
            generation = queries.generation(connection)
    return before if before is not None and before.generation == generation else View(store, generation)
