"""Keep the embedding complete and good: every architecture has a vector, and shortlists hold the best sources."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zoo_index.database import loading, queries, writes

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sqlalchemy import Connection

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


def embed_missing(target: Store, progress: Progress | None = None) -> int:
    """Give every architecture its vector.

    A few new ones get vectors made with the landmarks there are. When more than a tenth of the index is new, or the
    recall of shortlists, estimated on a sample, falls below `LEAST_RECALL`, landmarks are chosen again and all
    vectors made anew. Nothing is locked while vectors are computed; if the index changes meanwhile, they are
    computed again.

    Returns
    -------
    int
        Number of architectures that got a vector.
    """
    while True:
        with target.reading() as connection:
            if _is_complete(connection):
                return 0
            # imported here: with nothing to do, a refresh must not wait for the matcher
            from zoo_index.index import embedding

            generation = queries.state(connection)[0]
            table = loading.load_table(connection, "dpiat")
            stored = loading.load_vectors(connection)
            basis = loading.load_basis(connection, embedding.MEASURE)
        made = _embed(target, table, stored, basis, progress)
        with target.writing() as connection:
            if queries.state(connection)[0] != generation:
                continue
            if made.basis is not None:
                writes.put_basis(connection, embedding.MEASURE, made.basis)
            writes.put_recall(connection, embedding.MEASURE, made.recall)
            writes.put_vectors(connection, dict(zip(made.ids.tolist(), made.vectors, strict=True)))
            writes.raise_generation(connection)
        return len(made.ids)


@dataclass(frozen=True)
class _Made:
    """Vectors of some architectures, what they were made with where that is new, and how good all are."""

    ids: NDArray[np.int64]
    vectors: NDArray[np.float32]
    basis: loading.Basis | None
    recall: float


def _embed(
    target: Store,
    table: loading.StoredTable,
    stored: tuple[NDArray[np.int64], NDArray[np.float32]],
    basis: loading.Basis | None,
    progress: Progress | None,
) -> _Made:
    """Compute the vectors that are missing, or if need be all."""
    from zoo_index.index import embedding

    def load(id_: int) -> Architecture:
        with target.reading() as connection:
            architecture = loading.load_architecture(connection, id_, "dpiat")
        assert architecture is not None  # every stored architecture has this form
        return architecture

    def report(done: int, planned: int) -> None:
        if progress:
            progress("embedding", done, planned)

    def recall_of(vectors: NDArray[np.float32]) -> float:
        return embedding.estimate_recall(table, load, vectors, candidates=embedding.N_CANDIDATES)

    missing = np.setdiff1d(table.ids, stored[0])
    best: _Made | None = None
    if basis is not None and len(missing) <= _REFIT_FRACTION * len(table.ids):
        vectors = embedding.source_vectors(table, basis, missing, report)
        ids, rows = np.concatenate([stored[0], missing]), np.concatenate([stored[1], vectors])
        is_there = np.isin(ids, table.ids)
        recall = recall_of(rows[is_there][np.argsort(ids[is_there])])
        if recall >= LEAST_RECALL:
            return _Made(missing, vectors, None, recall)
    for seed in range(_TRIES):
        new = embedding.fit(table, seed=seed)
        vectors = embedding.source_vectors(table, new, table.ids, report)
        recall = recall_of(vectors)
        if best is None or recall > best.recall:
            best = _Made(table.ids, vectors, new, recall)
        if recall >= LEAST_RECALL:
            break
    assert best is not None
    return best


def _is_complete(connection: Connection) -> bool:
    """Whether every architecture has a vector."""
    ids = {id_ for id_, _, _ in queries.fingerprints(connection)}
    return ids == set(loading.embedded_ids(connection).tolist())
