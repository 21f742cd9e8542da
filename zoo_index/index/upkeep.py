"""Keep the embedding complete and good: every architecture has a vector, and shortlists hold the best sources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zoo_index.database import loading, queries, writes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from transfer.structure.records import Architecture
    from zoo_index.database.store import Store

__all__ = ["LEAST_RECALL", "Progress", "embed_missing"]

Progress = Callable[[str, int, int], None]
"""Called with a phase, the number done and the number planned."""

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


def embed_missing(target: Store, progress: Progress | None = None) -> int:
    """Give every architecture its vector.

    A few new ones get vectors made with the landmarks there are. When more than a tenth of the index is new, or the
    recall of shortlists, estimated on a sample, falls below `LEAST_RECALL`, landmarks are chosen again and all
    vectors made anew. Nothing is locked while vectors are computed; if the index changes meanwhile, they are
    computed again. Of a large index, only parts are in memory.

    Returns
    -------
    int
        Number of architectures that got a vector.
    """
    while True:
        with target.reading() as connection:
            if not len(loading.ids_without_vector(connection)):
                return 0
            # imported here: with nothing to do, a refresh must not wait for the matcher
            from zoo_index.index import embedding

            generation = queries.state(connection)[0]
            basis = loading.load_basis(connection, embedding.MEASURE)
        made = _Embedding(target, progress).complete(basis)
        with target.writing() as connection:
            if queries.state(connection)[0] != generation:
                continue
            if made.basis is not None:
                writes.put_basis(connection, embedding.MEASURE, made.basis)
            writes.put_recall(connection, embedding.MEASURE, made.recall)
            writes.put_vectors(connection, made.ids, made.vectors)
            writes.raise_generation(connection)
        return len(made.ids)


@dataclass(frozen=True)
class _Made:
    """Vectors of some architectures, what they were made with where that is new, and how good all are."""

    ids: NDArray[np.int64]
    vectors: NDArray[np.float32]
    basis: loading.Basis | None
    recall: float


class _Embedding:
    """Computes vectors part by part, and judges them on a sample of the index.

    Parameters
    ----------
    store : Store
    progress : callable, optional
    """

    def __init__(self, store: Store, progress: Progress | None) -> None:
        self._store = store
        self._progress = progress
        with store.reading() as connection:
            self.ids = loading.architecture_ids(connection)
            sample = self.ids
            if len(sample) > _MOST_SAMPLED:
                sample = np.sort(np.random.default_rng(0).choice(sample, _MOST_SAMPLED, replace=False))
            self._sample = loading.load_table(connection, "dpiat", sample)

    def complete(self, basis: loading.Basis | None) -> _Made:
        """Compute the vectors that are missing, or if need be all."""
        from zoo_index.index import embedding

        with self._store.reading() as connection:
            missing = loading.ids_without_vector(connection)
        if basis is not None and len(missing) <= _REFIT_FRACTION * len(self.ids):
            vectors = self._vectors(basis, missing)
            recall = self._recall(missing, vectors)
            if recall >= LEAST_RECALL:
                return _Made(missing, vectors, None, recall)
        best: _Made | None = None
        for seed in range(_TRIES):
            new = embedding.fit(self._sample, seed=seed)
            vectors = self._vectors(new, self.ids)
            recall = self._recall(self.ids, vectors)
            if best is None or recall > best.recall:
                best = _Made(self.ids, vectors, new, recall)
            if recall >= LEAST_RECALL:
                break
        assert best is not None
        return best

    def _vectors(self, basis: loading.Basis, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        from zoo_index.index import embedding

        rows = np.empty((len(ids), basis.projection.shape[1]), dtype=np.float32)
        for start in range(0, len(ids), _PART):
            part = ids[start : start + _PART]
            with self._store.reading() as connection:
                table = loading.load_table(connection, "dpiat", part)
            rows[start : start + _PART] = embedding.source_vectors(table, basis, part)
            if self._progress:
                self._progress("embedding", min(start + _PART, len(ids)), len(ids))
        return rows

    def _recall(self, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> float:
        """Estimate recall on the sample, with new vectors of some architectures and the stored ones of the others.

        Of a sample, as large a share of the best and of a shortlist is looked at as it is of the index.
        """
        from zoo_index.index import embedding

        with self._store.reading() as connection:
            old, rows = loading.load_vectors(connection, np.setdiff1d(self._sample.ids, ids))
        is_sampled = np.isin(ids, self._sample.ids)
        both = np.concatenate([ids[is_sampled], old])
        sampled = vectors[is_sampled] if not len(old) else np.concatenate([vectors[is_sampled], rows])
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
        with self._store.reading() as connection:
            architecture = loading.load_architecture(connection, id_, "dpiat")
        assert architecture is not None  # every stored architecture has this form
        return architecture
