"""The index in memory: tables for exact scores, the vector index for shortlists."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer.structure.records import Architecture, Form
from zoo_index.database import loading, queries, writes
from zoo_index.database.store import Store
from zoo_index.errors import IndexFileError
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


class _Read:
    """What was read of one generation of the index."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        self.parts = loading.Parts()
        self.named = _Recent(256)
        self.shapes = _Recent(8192)


class Search:
    """Loads what a question needs, once per generation of the index.

    Parameters
    ----------
    store : Store
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._tables: dict[tuple[int, Form], loading.StoredTable] = {}
        self._index: tuple[int, vectors.VectorIndex] | None = None
        self._read = _Read(-1)

    @property
    def vector_path(self) -> Path:
        """File of the vector index, beside the database."""
        return self._store.path.with_name(self._store.path.name + ".faiss")

    def table(self, form: Form) -> loading.StoredTable:
        """All architectures in one form."""
        with self._store.reading() as connection:
            key = (queries.state(connection)[0], form)
            if key not in self._tables:
                self._tables = {k: v for k, v in self._tables.items() if k[0] == key[0]}
                self._tables[key] = loading.load_table(connection, form)
            return self._tables[key]

    def architecture(self, architecture_id: int, form: Form) -> Architecture | None:
        """One architecture, its tensors named by number; None where it lacks the form."""
        return self.architectures([architecture_id], form).get(architecture_id)

    def architectures(self, ids: Sequence[int], form: Form) -> dict[int, Architecture]:
        """Load architectures by id, those that have the form."""
        with self._store.reading() as connection:
            read = self._current(queries.state(connection)[0])
            return read.named.of(ids, form, lambda i: loading.load_architectures(connection, i, form, read.parts))

    def shapes(self, ids: Sequence[int], form: Form) -> dict[int, Architecture]:
        """Load architectures without names and facts, to be compared only."""
        with self._store.reading() as connection:
            read = self._current(queries.state(connection)[0])
            return read.shapes.of(ids, form, lambda i: loading.load_shapes(connection, i, form, read.parts))

    def _current(self, generation: int) -> _Read:
        if self._read.generation != generation:
            self._read = _Read(generation)
        return self._read

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
        with self._store.reading() as connection:
            basis = loading.load_basis(connection, embedding.MEASURE)
        if basis is None:
            return np.zeros(0, dtype=np.int64)
        return self.vector_index().search(embedding.query_vector(target, basis), k)

    def without_vector(self, n_architectures: int) -> NDArray[np.int64]:
        """Ids of the architectures that have no vector yet; none are looked for where all have one."""
        if len(self.vector_index()) == n_architectures:
            return np.zeros(0, dtype=np.int64)
        with self._store.reading() as connection:
            return loading.ids_without_vector(connection)

    def vector_index(self) -> vectors.VectorIndex:
        """Load the vector file, or build it from the database where it does not fit."""
        with self._store.reading() as connection:
            generation, made_of, digest = queries.state(connection)
            if self._index is not None and self._index[0] == generation:
                return self._index[1]
            index = vectors.load(self.vector_path, digest) if made_of == generation else None
            ids, rows = loading.load_vectors(connection) if index is None else (None, None)
        if index is None:
            assert ids is not None
            assert rows is not None
            index = vectors.build(ids, rows)
            self._keep(index, generation)
        self._index = (generation, index)
        return index

    def _keep(self, index: vectors.VectorIndex, generation: int) -> None:
        digest = vectors.save(index, self.vector_path)
        # a folder or database that cannot be written is still good for reading
        with contextlib.suppress(IndexFileError):
            if digest:
                with self._store.writing() as connection:
                    if queries.state(connection)[0] == generation:
                        writes.put_vectors_stamp(connection, generation, digest)
