"""Keep the embedding complete and good: every architecture has a vector, and shortlists hold the best sources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zoo_index.catalogues.description import FEATURES
from zoo_index.database import embeddings, loading, queries, writes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from transfer.structure.records import Architecture
    from zoo_index.database.store import Connection

__all__ = ["LEAST_RECALL", "Embedded", "Progress", "embed"]

Progress = Callable[[str, int, int], None]
"""Called with a phase, the number done and the number planned."""

Transaction = Callable[[], AbstractContextManager["Connection"]]
"""Opens a transaction."""

LEAST_RECALL = 0.95
"""Share of the true ten best that a shortlist must hold; below it landmarks are chosen again."""

_REFIT_FRACTION = 0.1
"""Share of new architectures above which the landmarks may no longer be typical of the zoo."""

_TRIES = 3
"""Sets of landmarks that are tried until one reaches `LEAST_RECALL`."""

_MOST_SAMPLED = 1 << 16
"""Architectures that landmarks are chosen from and recall is estimated on."""

_PART = 1 << 14
"""Architectures whose vectors are computed at a time."""

_BEST, _N_TARGETS, _MOST_TARGETS = 10, 20, 60
"""Recall at 10, of so many targets; of more where a sample leaves fewer of the ten."""


@dataclass(frozen=True)
class Embedded:
    """What was embedded.

    Parameters
    ----------
    n : int
        Architectures that got a vector.
    new_basis : int or None
        Id of a prepared basis that all vectors were made with, where the standing one no longer does.
    """

    n: int = 0
    new_basis: int | None = None


def embed(
    reading: Transaction,
    writing: Transaction,
    ids: Sequence[int],
    progress: Progress | None = None,
    before: Embedded | None = None,
) -> Embedded:
    """Give architectures that will make up the index the vectors that they lack.

    A few new ones get vectors made with the landmarks there are. When more than a tenth of the index is new, or the
    recall of shortlists, estimated on a sample, falls below `LEAST_RECALL`, landmarks are chosen again and all
    vectors made anew. Nothing is locked while vectors are computed. Of a large index, only parts are in memory.

    Parameters
    ----------
    reading, writing : callable
        Open transactions.
    ids : sequence of int
        Ids of the architectures, ascending.
    progress : callable, optional
    before : Embedded, optional
        What was embedded for the same generation before.

    Returns
    -------
    Embedded
    """
    before = before or Embedded()
    wanted = np.array(ids, dtype=np.int64)
    with reading() as connection:
        generation = queries.generation(connection)
        basis_id = before.new_basis or embeddings.standing_basis(connection, _MEASURE, generation + 1, FEATURES)
        known = np.zeros(0, dtype=np.int64) if basis_id is None else embeddings.embedded_ids(connection, basis_id)
    missing = np.setdiff1d(wanted, known)
    if not len(missing):
        return before
    made = _Embedding(reading, wanted, progress).complete(basis_id, missing)
    with writing() as connection:
        if made.basis is not None:
            basis_id = writes.put_basis(connection, _MEASURE, made.basis, made.recall)
        assert basis_id is not None
        writes.put_recall(connection, basis_id, made.recall)
        writes.put_vectors(connection, basis_id, made.ids, made.vectors)
    return Embedded(len(made.ids), before.new_basis if made.basis is None else basis_id)


_MEASURE = "dpiat"
"""As `embedding.MEASURE`, whose module cannot be imported yet: with nothing to do, nobody waits for the matcher."""


@dataclass(frozen=True)
class _Made:
    """Vectors of some architectures, what they were made with where that is new, and how good all are."""

    ids: NDArray[np.int64]
    vectors: NDArray[np.float32]
    basis: embeddings.Basis | None
    recall: float


class _Embedding:
    """Computes vectors part by part, and judges them on a sample of the index.

    Parameters
    ----------
    reading : callable
        Opens a transaction.
    ids : ndarray of shape (n,), int64
        The architectures, ascending.
    progress : callable, optional
    """

    def __init__(self, reading: Transaction, ids: NDArray[np.int64], progress: Progress | None) -> None:
        self._reading = reading
        self._progress = progress
        self.ids = ids
        sample = self.ids
        if len(sample) > _MOST_SAMPLED:
            sample = np.sort(np.random.default_rng(0).choice(sample, _MOST_SAMPLED, replace=False))
        with reading() as connection:
            self._sample = loading.load_table(connection, "dpiat", sample)

    def complete(self, basis_id: int | None, missing: NDArray[np.int64]) -> _Made:
        """Compute the vectors that are missing, or if need be all."""
        from zoo_index.index import embedding

        if basis_id is not None and len(missing) <= _REFIT_FRACTION * len(self.ids):
            with self._reading() as connection:
                basis = embeddings.load_basis(connection, basis_id)
            vectors = self._vectors(basis, missing)
            recall = self._recall(missing, vectors, basis_id)
            if recall >= LEAST_RECALL:
                return _Made(missing, vectors, None, recall)
        best: _Made | None = None
        for seed in range(_TRIES):
            new = embedding.fit(self._sample, seed=seed)
            vectors = self._vectors(new, self.ids)
            recall = self._recall(self.ids, vectors, None)
            if best is None or recall > best.recall:
                best = _Made(self.ids, vectors, new, recall)
            if recall >= LEAST_RECALL:
                break
        assert best is not None
        return best

    def _vectors(self, basis: embeddings.Basis, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        from zoo_index.index import embedding

        rows = np.empty((len(ids), basis.projection.shape[1]), dtype=np.float32)
        for start in range(0, len(ids), _PART):
            part = ids[start : start + _PART]
            with self._reading() as connection:
                table = loading.load_table(connection, "dpiat", part)
            rows[start : start + _PART] = embedding.source_vectors(table, basis, part)
            if self._progress:
                self._progress("embedding", min(start + _PART, len(ids)), len(ids))
        return rows

    def _recall(self, ids: NDArray[np.int64], vectors: NDArray[np.float32], basis_id: int | None) -> float:
        """Estimate recall on the sample, with new vectors of some architectures and the stored ones of the others.

        Of a sample, as large a share of the best and of a shortlist is looked at as it is of the index.
        """
        from zoo_index.index import embedding

        is_sampled = np.isin(ids, self._sample.ids)
        both, sampled = ids[is_sampled], vectors[is_sampled]
        others = np.setdiff1d(self._sample.ids, ids)
        if len(others):
            assert basis_id is not None
            with self._reading() as connection:
                old, rows = embeddings.load_vectors(connection, basis_id, others)
            both, sampled = np.concatenate([both, old]), np.concatenate([sampled, rows])
        share = len(self._sample.ids) / len(self.ids)
        return embedding.estimate_recall(
            self._sample,
            self._architecture,
            sampled[np.argsort(both)],
            candidates=max(1, round(embedding.N_CANDIDATES * share)),
            k=max(1, round(_BEST * share)),
            n_targets=min(round(_N_TARGETS / share), _MOST_TARGETS),
        )

    def _architecture(self, id_: int) -> Architecture:
        with self._reading() as connection:
            architecture = loading.load_architecture(connection, id_, "dpiat")
        assert architecture is not None  # every stored architecture has this form
        return architecture
