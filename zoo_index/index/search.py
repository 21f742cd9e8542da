"""The index in memory: tables for exact scores, the vector index for shortlists."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from transfer.structure.records import Architecture, Form
from zoo_index.database import embeddings, loading, queries
from zoo_index.database.store import Connection, Store
from zoo_index.index import embedding, vectors

__all__ = ["Search"]


_Key = tuple[int, Form]
"""Id of an architecture, and the form."""


class _Recent(dict[_Key, Architecture]):
    """The architectures that were asked for last.

    Parameters
    ----------
    n_most : int
        How many are kept; with a few hundred layers and their names one takes some hundred kilobytes.
    """

    def __init__(self, n_most: int) -> None:
        super().__init__()
        self._n_most = n_most

    def of(
        self, ids: Sequence[int], form: Form, load: Callable[[Sequence[int]], dict[int, Architecture]]
    ) -> dict[int, Architecture]:
        """Return what there is of some ids, loading what is not kept."""
        found = {id_: known for id_ in ids if (known := self.pop((id_, form), None)) is not None}
        missing = [id_ for id_ in ids if id_ not in found]
        found |= load(missing) if missing else {}
        self.update({(id_, form): each for id_, each in found.items()})  # the latest last
        while len(self) > self._n_most:
            del self[next(iter(self))]
        return found


class Search:
    """Loads what a question needs of one generation of the index, once.

    Parameters
    ----------
    store : Store
    generation : int
    """

    def __init__(self, store: Store, generation: int) -> None:
        self._store = store
        self._generation = generation
        self._tables: dict[Form, loading.StoredTable] = {}
        self._parts = loading.Parts()
        self._named = _Recent(256)
        self._shapes = _Recent(8192)

    def table(self, form: Form) -> loading.StoredTable:
        """All architectures in one form."""
        if form not in self._tables:
            with self._store.reading() as connection:
                self._tables[form] = loading.load_table(connection, form, self._generation)
        return self._tables[form]

    def architecture(self, architecture_id: int, form: Form) -> Architecture | None:
        """One architecture, its tensors named by number; None where it lacks the form."""
        return self.architectures([architecture_id], form).get(architecture_id)

    def architectures(self, ids: Sequence[int], form: Form) -> dict[int, Architecture]:
        """Load architectures by id, those that have the form."""
        return self._named.of(ids, form, self._reader(loading.load_architectures, form))

    def shapes(self, ids: Sequence[int], form: Form) -> dict[int, Architecture]:
        """Load architectures without names and facts, to be compared only."""
        return self._shapes.of(ids, form, self._reader(loading.load_shapes, form))

    def by_header(self, ids: Sequence[int]) -> set[int]:
        """Those of some architectures that are known by a header alone, which may be in any order."""
        with self._store.reading() as connection:
            return loading.with_header_alone(connection, ids)

    def _reader(
        self, load: Callable[[Connection, Sequence[int], Form, loading.Parts], dict[int, Architecture]], form: Form
    ) -> Callable[[Sequence[int]], dict[int, Architecture]]:
        def read(ids: Sequence[int]) -> dict[int, Architecture]:
            with self._store.reading() as connection:
                return load(connection, ids, form, self._parts)

        return read

    def table_of(self, ids: NDArray[np.int64], form: Form) -> loading.StoredTable:
        """Load some architectures in one form, by ascending id; nothing else is read."""
        with self._store.reading() as connection:
            return loading.load_table(connection, form, ids)

    def nearest(self, target: Architecture, k: int) -> NDArray[np.int64]:
        """Ids of the k nearest by embedding, best first; fewer where fewer have a vector.

        Parameters
        ----------
        target : Architecture
            In the form of the embedding's measure.
        k : int
        """
        if self._basis is None:
            return np.zeros(0, dtype=np.int64)
        return self.vector_index.search(embedding.query_vector(target, self._basis[1]), k)

    def without_vector(self, n_architectures: int) -> NDArray[np.int64]:
        """Ids of the architectures that have no vector yet; none are looked for where all have one."""
        if len(self.vector_index) == n_architectures:
            return np.zeros(0, dtype=np.int64)
        with self._store.reading() as connection:
            ids = loading.architecture_ids(connection, self._generation)
            known = embeddings.embedded_ids(connection, self._basis[0]) if self._basis else ids[:0]
        return np.setdiff1d(ids, known)

    @cached_property
    def _basis(self) -> tuple[int, embeddings.Basis] | None:
        with self._store.reading() as connection:
            id_ = embeddings.standing_basis(connection, embedding.MEASURE, self._generation)
            return None if id_ is None else (id_, embeddings.load_basis(connection, id_))

    @cached_property
    def vector_index(self) -> vectors.VectorIndex:
        """The vector file, made from the database where there is none that fits."""
        with self._store.reading() as connection:
            stamp = vectors.Stamp(queries.identity(connection), self._generation)
        width = self._basis[1].projection.shape[1] if self._basis else None
        index = vectors.load(self._store.vector_path, stamp, width)
        if index is None:
            with self._store.reading() as connection:
                ids = loading.architecture_ids(connection, self._generation)
                basis = self._basis[0] if self._basis else -1
                index = vectors.build(*embeddings.load_vectors(connection, basis, ids))
            vectors.save(index, self._store.vector_path, stamp)
        return index
