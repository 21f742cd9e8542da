"""Vectors whose inner product is large for architectures of high similarity: profiles of layers.

The similarity adds up scores of matched layers, so two architectures can only be similar if their layers are,
whatever the order. A profile says how much of an architecture's layers resembles each of some landmark layers l_1
... l_k:

    x(A)[a] = sqrt( sum over layers b of A of s(l_a, b) / sqrt(n(A)) )

with s the shape score and n(A) the number of scoring layers. Principal components of the profiles of a zoo, each
divided by its variance to the power 0.35, and scaled to length 1, are the vectors, of sources and of targets alike.
No programme is run for them, so a million architectures take minutes; docs/large-indexes.md has what else was
tried.

Landmarks are distinct layers of the zoo, drawn with a probability in proportion to the root of how often they
occur.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from transfer.alignment import _kernels
from transfer.alignment.matching import MANY
from transfer.alignment.ranking import rank, similarities
from transfer.alignment.tables import Table, code_of, kind_of, n_shared_layers, table_of
from transfer.structure.records import Architecture
from zoo_index.database.embeddings import Basis, Landmark
from zoo_index.database.loading import StoredTable

__all__ = [
    "MEASURE",
    "MOST_EXACT",
    "N_CANDIDATES",
    "estimate_recall",
    "fit",
    "grouped_otherwise",
    "query_vector",
    "source_vectors",
    "target_row",
]

MEASURE = "dpiat"
"""Measure that the stored embedding approximates; the other one is ranked exactly."""

N_CANDIDATES = 500
"""Length of the shortlist that is ranked exactly."""

MOST_EXACT = 4096
"""Up to so many architectures all are ranked exactly: finding a shortlist would take as long."""

_N_LANDMARKS = 512
_N_DIMENSIONS = 64
_WHITENING = 0.35
_N_SAMPLE = 8192
"""Architectures whose profiles the principal components are computed from."""

_CHUNK = 128
"""Architectures whose profiles are computed at a time."""

Loader = Callable[[int], Architecture]
Progress = Callable[[int, int], None]


def target_row(target: Architecture, sources: StoredTable) -> NDArray[np.float64]:
    """Similarity of every source for one target, of shape (n_sources,), in [0, 1]."""
    values = rank(target, sources.table)
    return similarities(values, target.n_scoring, sources.n_scoring, measure=target.form)


def grouped_otherwise(
    target: Architecture, sources: StoredTable, scores: NDArray[np.float64], n_most: int = 16
) -> NDArray[np.intp]:
    """Find sources that share more layers with a target than their similarity tells: grouped otherwise.

    Parameters
    ----------
    target : Architecture
    sources : StoredTable
    scores : ndarray of shape (n_sources,), float64
        Their similarities.
    n_most : int
        At most so many, those that share most.

    Returns
    -------
    ndarray of int
        Rows of `sources`.
    """
    n_shared = n_shared_layers(sources.table, table_of(target))
    possible = similarities(n_shared.astype(np.float64), target.n_scoring, sources.n_scoring, measure=target.form)
    is_more = possible > scores + MANY * np.sqrt(target.n_scoring / np.maximum(sources.n_scoring, 1))
    rows = np.flatnonzero(is_more)
    return rows[np.argsort(-possible[rows], kind="stable")[:n_most]]


def fit(table: StoredTable, *, seed: int = 0) -> Basis:
    """Choose landmarks and principal components for the architectures of an index.

    Parameters
    ----------
    table : StoredTable
    seed : int
        Of the landmarks.

    Returns
    -------
    Basis
        Of at most 64 dimensions, fewer for small indexes.
    """
    random = np.random.default_rng(seed)
    landmarks = _draw_landmarks(table.table, random)
    rows = np.arange(len(table.ids))
    if len(rows) > _N_SAMPLE:
        rows = np.sort(random.choice(rows, _N_SAMPLE, replace=False))
    profiles = _profiles(table, landmarks, rows)
    if len(profiles) == 1:  # nothing to tell apart
        return Basis(landmarks, np.zeros((len(landmarks) + 1, 1), dtype=np.float32))
    # imported here: questions need no PCA, which takes a second to load
    from sklearn.decomposition import PCA

    pca = PCA(min(_N_DIMENSIONS, *profiles.shape), svd_solver="full").fit(profiles)
    variances = pca.explained_variance_
    kept = variances > 1e-9 * max(float(variances[0]), 1e-30)
    projection = pca.components_[kept].T / variances[kept] ** _WHITENING
    return Basis(landmarks, np.vstack([projection, -pca.mean_ @ projection]).astype(np.float32))


def source_vectors(
    table: StoredTable, basis: Basis, ids: NDArray[np.int64], progress: Progress | None = None
) -> NDArray[np.float32]:
    """Compute the vectors of some architectures.

    Parameters
    ----------
    table : StoredTable
    basis : Basis
    ids : ndarray of shape (n,), int64
    progress : callable, optional
        Called with the number done and the number planned.

    Returns
    -------
    ndarray of shape (n, d), float32, of length 1 (or 0)
    """
    rows = table.rows(ids)
    parts = []
    for chunk in np.array_split(rows, max(1, -(-len(rows) // 1024))):
        vectors = _profiles(table, basis.landmarks, chunk) @ basis.projection[:-1] + basis.projection[-1]
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        parts.append((vectors / np.where(length > 0, length, 1)).astype(np.float32))
        if progress:
            progress(sum(map(len, parts)), len(rows))
    return np.concatenate(parts)


def query_vector(target: Architecture, basis: Basis) -> NDArray[np.float32]:
    """Vector of a target, of shape (d,), float32."""
    table = table_of(target)
    stored = StoredTable(np.zeros(1, dtype=np.int64), np.array([target.n_scoring]), table)
    vector: NDArray[np.float32] = source_vectors(stored, basis, stored.ids)[0]
    return vector


def estimate_recall(
    table: StoredTable,
    load: Loader,
    vectors: NDArray[np.float32],
    *,
    candidates: int,
    k: int = 10,
    n_targets: int = 20,
    seed: int = 1,
) -> float:
    """Share of the true `k` best sources that a shortlist holds, over architectures of the index as targets.

    Parameters
    ----------
    table : StoredTable
    load : callable
        Returns the architecture of a database id.
    vectors : ndarray of shape (n_architectures, d), float32
        In the order of `table`.
    candidates : int
        Length of the shortlist.
    k, n_targets, seed : int

    Returns
    -------
    float
        In [0, 1]; what scores as high as the true k-th counts as one of the best.
    """
    n = len(table.ids)
    if n <= candidates:
        return 1.0
    rows = np.random.default_rng(seed).choice(n, min(n_targets, n), replace=False)
    found = []
    for row in rows.tolist():
        exact = target_row(load(int(table.ids[row])), table)
        line = np.partition(exact, n - k)[n - k] - 1e-12
        near = np.argpartition(-(vectors @ vectors[row]), candidates)[:candidates]
        found.append(min(k, int((exact[near] >= line).sum())) / k)
    return float(np.mean(found))


def _draw_landmarks(table: Table, random: np.random.Generator) -> tuple[Landmark, ...]:
    occurs = np.zeros(len(table.layer_kind))
    times = np.bincount(table.item, minlength=len(table.item_single))
    np.add.at(occurs, table.item_layer, np.repeat(times, np.diff(table.item_start)))
    known = table.layer_kind >= 0
    codes, first, kinds = np.unique(table.layer_kind[known], return_index=True, return_inverse=True)
    order = np.argsort(first)  # in which they occur, not in which this process met them
    layers, owners = np.unique(
        np.column_stack([np.argsort(order)[kinds], table.layer_dims[known]]).astype(np.int64),
        axis=0,
        return_inverse=True,
    )
    weight = np.sqrt(np.bincount(owners.ravel(), weights=occurs[known], minlength=len(layers)))
    n = min(_N_LANDMARKS, int((weight > 0).sum()))
    chosen = np.sort(random.choice(len(weight), n, replace=False, p=weight / weight.sum()))
    named = [kind_of(code) for code in codes[order].tolist()]
    return tuple(Landmark(named[kind][0], named[kind][1], tuple(dims)) for kind, *dims in layers[chosen].tolist())


def _profiles(table: StoredTable, landmarks: tuple[Landmark, ...], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Profiles of some architectures, of shape (n, n_landmarks)."""
    codes = np.array([code_of(landmark.kind, landmark.n_dims) for landmark in landmarks], dtype=np.int64)
    dims = np.array([landmark.dims for landmark in landmarks], dtype=np.float64)
    parts = [np.zeros((0, len(landmarks)))]
    for chunk in np.array_split(rows, max(1, -(-len(rows) // _CHUNK))):
        layers, counts = _layer_counts(table.table, chunk)
        scores = _kernels.layer_scores(codes, dims, table.table.layer_kind[layers], table.table.layer_dims[layers])
        n_scoring = np.maximum(table.n_scoring[chunk], 1)
        parts.append(np.sqrt(counts @ scores / np.sqrt(n_scoring)[:, None]))
    return np.concatenate(parts)


def _layer_counts(table: Table, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Layers that occur in some architectures, and how often in each, of shape (n_rows, n_layers)."""
    parts = list(_layers(table, rows))
    layers, columns = np.unique(np.concatenate(parts), return_inverse=True)
    owners = np.repeat(np.arange(len(rows)), [len(part) for part in parts])
    counts = np.bincount(owners * len(layers) + columns.ravel(), minlength=len(rows) * len(layers))
    return layers, counts.reshape(len(rows), len(layers)).astype(np.float64)


def _layers(table: Table, rows: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Layers of some architectures, one list each."""
    for row in rows:
        items = table.item[table.start[row] : table.start[row + 1]]
        begin, size = table.item_start[items], table.item_start[items + 1] - table.item_start[items]
        within = np.arange(size.sum()) - np.repeat(np.cumsum(size) - size, size)
        yield table.item_layer[np.repeat(begin, size) + within]
