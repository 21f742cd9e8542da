"""Vectors whose inner product approximates the similarity (Nyström).

With landmark architectures L_1 ... L_d spread over the zoo, s(S, T) the similarity of source S for target T:

    W[b, a] = s(L_a, L_b)                    (d, d)
    q(T)[a] = s(L_a, T)                      target side
    v(S)    = pinv(W) y(S),  y(S)[b] = s(S, L_b)     source side
    s(S, T) ≈ q(T) · v(S),  exact for landmarks as sources

Landmarks are the architectures nearest to the centres of k-means clusters in the space of similarities
to a few probes, which are chosen one by one to be unlike each other. docs/ranking.md has what else was tried.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from transfer.alignment.ranking import rank, similarities
from transfer.structure.records import Architecture
from zoo_index.database.loading import Basis, StoredTable

__all__ = ["MEASURE", "N_LANDMARKS", "choose_landmarks", "fit", "query_vector", "source_vectors", "target_row"]

MEASURE = "dpiat"
"""Measure that the stored embedding approximates; the other one is ranked exactly."""

N_LANDMARKS = 256
"""With 256 landmarks 99.9 % of the true top 10 of timm's other architectures lie within the first 100."""

_N_PROBES = 64
_RCOND = 1e-3
"""Singular values of W below this fraction of the largest are noise of nearly equal landmarks."""

Loader = Callable[[int], Architecture]
Progress = Callable[[int, int], None]


def target_row(target: Architecture, sources: StoredTable) -> NDArray[np.float64]:
    """Similarity of every source for one target, of shape (n_sources,), in [0, 1]."""
    values = rank(target, sources.table)
    return similarities(values, target.n_scoring, sources.n_scoring, measure=target.form)


def choose_landmarks(
    table: StoredTable, load: Loader, *, n: int = N_LANDMARKS, seed: int = 0
) -> tuple[NDArray[np.int64], dict[int, NDArray[np.float64]]]:
    """Choose architectures that are spread over the zoo.

    Parameters
    ----------
    table : StoredTable
    load : callable
        Returns the architecture of a database id.
    n : int
        How many; all of them if there are no more.
    seed : int

    Returns
    -------
    ids : ndarray of shape (<= n,), int64, ascending
    known : dict
        Similarities of all sources for the probes, by probe id; `fit` uses them again.
    """
    if len(table.ids) <= n:
        return table.ids, {}
    from sklearn.cluster import KMeans

    known = _probe(table, load, min(_N_PROBES, n), seed)
    points = np.stack(list(known.values()), axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct points than clusters: then there are fewer landmarks
        clusters = KMeans(n, n_init=1, random_state=seed).fit(points)
    distance = ((points[:, None, :] - clusters.cluster_centers_[None]) ** 2).sum(-1)
    nearest = np.unique(distance.argmin(axis=0))
    return table.ids[nearest], known


def _probe(table: StoredTable, load: Loader, n: int, seed: int) -> dict[int, NDArray[np.float64]]:
    """Similarities of all sources for n targets, each the one that the earlier ones resemble least.

    Probes drawn at random leave out small families, which then share one cluster far from everything.
    """
    row = int(np.random.default_rng(seed).integers(len(table.ids)))
    known: dict[int, NDArray[np.float64]] = {}
    covered = np.zeros(len(table.ids))
    for _ in range(n):
        id_ = int(table.ids[row])
        known[id_] = target_row(load(id_), table)
        covered = np.maximum(covered, known[id_])
        covered[row] = np.inf
        row = int(covered.argmin())
    return known


def fit(
    table: StoredTable,
    load: Loader,
    landmark_ids: NDArray[np.int64],
    known: dict[int, NDArray[np.float64]] | None = None,
    progress: Progress | None = None,
) -> tuple[Basis, NDArray[np.float32]]:
    """Compute the basis and the source-side vectors of all architectures.

    Returns
    -------
    basis : Basis
    vectors : ndarray of shape (n_architectures, d), float32
        In the order of `table`.
    """
    known = known or {}
    similar = np.empty((len(landmark_ids), len(table.ids)))
    for row, id_ in enumerate(landmark_ids.tolist()):
        similar[row] = known[id_] if id_ in known else target_row(load(id_), table)
        if progress:
            progress(row + 1, len(landmark_ids))
    w = similar[:, table.rows(landmark_ids)]
    basis = Basis(landmark_ids, np.linalg.pinv(w, rcond=_RCOND).astype(np.float32))
    return basis, (basis.projection.astype(np.float64) @ similar).T.astype(np.float32)


def source_vectors(
    sources: Sequence[Architecture], basis: Basis, landmarks: Sequence[Architecture]
) -> NDArray[np.float32]:
    """Source-side vectors of further architectures, of shape (n_sources, d), float32."""
    from transfer.alignment.tables import tabulate

    table = StoredTable(
        np.arange(len(sources)),
        np.array([source.n_scoring for source in sources]),
        tabulate(sources, form=sources[0].form),
    )
    similar = np.stack([target_row(landmark, table) for landmark in landmarks])
    return (basis.projection.astype(np.float64) @ similar).T.astype(np.float32)


def query_vector(target: Architecture, landmarks: StoredTable) -> NDArray[np.float32]:
    """Target-side vector, of shape (d,), float32; `landmarks` in the order of the basis."""
    return target_row(target, landmarks).astype(np.float32)
