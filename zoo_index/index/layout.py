"""The index as a map: a place in the plane for every architecture, near those that it resembles.

Places are made from the vectors of the embedding by t-SNE, which keeps neighbours together better than the other
methods that were tried (docs/see.md). It starts from the first two principal components, so that the same vectors
give the same map. Of a large index a sample is laid out, and every other architecture is put among the members of
the sample that it resembles most.

Like the vector file, a map is derived: it lies beside the database, says which generation of which index it is made
of, and is made anew whenever it does not fit. Where the folder cannot be written the map lives in memory.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer.weights.files import open_regular, replacing
from zoo_index.database import embeddings, loading, queries
from zoo_index.database.store import Store
from zoo_index.index import embedding

__all__ = ["Layout", "lay_out", "load_layout", "map_path", "open_layout", "vectors_of"]

_VERSION = 1
"""Of the method: places made by another one are made anew."""

_N_SAMPLE = 2500
"""Architectures that t-SNE places; it takes some ten seconds for twice as many."""

_PERPLEXITY = 15.0
_N_STEPS = 500
_N_NEAREST = 4
"""Members of the sample that another architecture is put among."""

_SHARPNESS = 25.0
"""How much more the nearest of them counts than the next ones."""

_DISTANCE = 0.36
"""Places that are nearer than this, in units of the root of the area of each, are moved apart, so that each can be
seen and pointed at."""

_N_MOVES = 25

_CHUNK = 4096
"""Rows that are compared with the sample at a time."""

_MOST_HEAD = 1000
"""Bytes of the line that says what a file holds."""


@dataclass(frozen=True)
class Layout:
    """Places of architectures.

    Parameters
    ----------
    ids : ndarray of shape (n,), int64
        Database ids, ascending; those that have a vector.
    places : ndarray of shape (n, 2), float32
        In [0, 1].
    """

    ids: NDArray[np.int64]
    places: NDArray[np.float32]


def lay_out(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Place vectors in the plane, near ones near each other; equal input gives equal places.

    Parameters
    ----------
    vectors : ndarray of shape (n, d), float32
        Of length 1 (or 0).

    Returns
    -------
    ndarray of shape (n, 2), float32, in [0, 1]
    """
    n = len(vectors)
    if n < 4:  # nothing to compute neighbourhoods from
        return np.array([[(i + 0.5) / n, 0.5] for i in range(n)], dtype=np.float32).reshape(n, 2)
    if n <= _N_SAMPLE:
        return _fitted(_apart(_embedded(vectors)))
    chosen = np.sort(np.random.default_rng(0).choice(n, _N_SAMPLE, replace=False))
    return _fitted(_apart(_among(vectors, vectors[chosen], _embedded(vectors[chosen]))))


def _embedded(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    """Places by t-SNE."""
    # imported here: only who looks at a map waits for it
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    perplexity = min(_PERPLEXITY, (len(vectors) - 1) / 3)
    flat = not np.ptp(vectors, axis=0).any()
    start = "random" if flat or min(vectors.shape) < 2 else "pca"
    method = TSNE(2, perplexity=perplexity, init=start, max_iter=_N_STEPS, random_state=0, n_jobs=1)
    with threadpool_limits(
        1
    ):  # sums of several threads differ from run to run, and wait for each other on busy cores
        places: NDArray[np.float64] = method.fit_transform(vectors.astype(np.float64)).astype(np.float64)
    return places


def _among(
    vectors: NDArray[np.float32], sample: NDArray[np.float32], places: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Places among those of a sample: the mean of the nearest ones' places, the nearest counting most."""
    found = np.empty((len(vectors), 2))
    for start in range(0, len(vectors), _CHUNK):
        part = vectors[start : start + _CHUNK]
        likeness = part @ sample.T
        near = np.argpartition(-likeness, _N_NEAREST, axis=1)[:, :_N_NEAREST]
        weights = np.take_along_axis(likeness, near, axis=1)
        weights = np.exp(_SHARPNESS * (weights - weights.max(axis=1, keepdims=True)))
        found[start : start + _CHUNK] = (places[near] * weights[..., None]).sum(axis=1) / weights.sum(
            axis=1, keepdims=True
        )
    return found


def _apart(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Move places that are too near each other apart, by a few steps of what pushes both away."""
    # imported here, as scikit-learn, which needs it
    from scipy.spatial import KDTree

    scale = float(np.ptp(places, axis=0).max()) or 1.0
    least = scale * _DISTANCE / np.sqrt(len(places))
    moved = _unequal(places, least / 4)
    for _ in range(_N_MOVES):
        pairs = KDTree(moved).query_pairs(least, output_type="ndarray")
        if not len(pairs):
            break
        pairs = pairs[np.lexsort(pairs.T)]
        between = moved[pairs[:, 0]] - moved[pairs[:, 1]]
        length = np.maximum(np.linalg.norm(between, axis=1, keepdims=True), 1e-12)
        push = np.minimum(least - length, least) / 2 * between / length * 0.5
        for side, sign in ((0, 1), (1, -1)):
            for axis in (0, 1):
                moved[:, axis] += sign * np.bincount(pairs[:, side], push[:, axis], minlength=len(moved))
    return moved


def _unequal(places: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Put places that are equal on a spiral around where they were."""
    scale = float(np.ptp(places, axis=0).max()) or 1.0
    _, group, sizes = np.unique(
        np.round(places / (scale * 1e-4)).astype(np.int64), axis=0, return_inverse=True, return_counts=True
    )
    order = np.argsort(group.ravel(), kind="stable")
    number = np.empty(len(places))
    number[order] = np.arange(len(places)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    share = np.sqrt(number / sizes[group.ravel()])
    angle = number * 2.399963  # the golden angle: no two in a row
    moved: NDArray[np.float64] = places + radius * (share * np.array([np.cos(angle), np.sin(angle)])).T
    return moved


def _fitted(places: NDArray[np.float64]) -> NDArray[np.float32]:
    """Scale places to the unit square, alike in both directions."""
    low, high = places.min(axis=0), places.max(axis=0)
    scaled = (places - (low + high) / 2) / (float((high - low).max()) or 1.0) + 0.5
    fitted: NDArray[np.float32] = np.clip(scaled, 0, 1).astype(np.float32)
    return fitted


def map_path(store: Store) -> Path:
    """File beside the vectors that keeps the map."""
    return store.vector_path.with_suffix(".map")


def load_layout(store: Store, generation: int) -> Layout | None:
    """Read the map of a generation, if it was made and the file is whole."""
    with store.reading() as connection:
        head = _head(queries.identity(connection), generation)
    return _read(map_path(store), head)


def open_layout(store: Store, generation: int) -> Layout:
    """Return the map of a generation: as it was kept, else made now, and kept where the folder can be written.

    Parameters
    ----------
    store : Store
    generation : int
    """
    with store.reading() as connection:
        head = _head(queries.identity(connection), generation)
    kept = _read(map_path(store), head)
    if kept is not None:
        return kept
    ids, vectors = vectors_of(store, generation)
    made = Layout(ids, lay_out(vectors))
    _write(made, map_path(store), head)
    return made


def vectors_of(store: Store, generation: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Ids of the architectures of a generation that have a vector, ascending, and their vectors."""
    with store.reading() as connection:
        basis = embeddings.standing_basis(connection, embedding.MEASURE, generation)
        standing = loading.architecture_ids(connection, generation)
        return embeddings.load_vectors(connection, -1 if basis is None else basis, standing)


def _head(identity: str, generation: int) -> dict[str, object]:
    return {"map": _VERSION, "identity": identity, "generation": generation}


def _write(layout: Layout, path: Path, head: dict[str, object]) -> None:
    content = layout.ids.astype("<i8").tobytes() + layout.places.astype("<f4").tobytes()
    told = {**head, "n": len(layout.ids), "sha256": hashlib.sha256(content).hexdigest()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_bytes(json.dumps(told).encode() + b"\n" + content)
    except OSError:  # it lives in memory then
        return


def _read(path: Path, head: dict[str, object]) -> Layout | None:
    try:
        with open_regular(path) as file:
            told = json.loads(file.readline(_MOST_HEAD))
            n = told.pop("n")
            digest = told.pop("sha256")
            if told != head or type(n) is not int or not 0 <= n < 2**31:
                return None
            content = file.read(n * 16 + 1)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if len(content) != n * 16 or hashlib.sha256(content).hexdigest() != digest:
        return None
    places = np.frombuffer(content, dtype="<f4", offset=n * 8).reshape(n, 2)
    if not ((places >= 0) & (places <= 1)).all():
        return None
    return Layout(np.frombuffer(content, dtype="<i8", count=n), places)
