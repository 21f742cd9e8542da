"""Neighbours of an architecture: the best sources for it, and the architectures that it is a good source for.

The nearest by embedding are scored exactly, both ways; of the best of those the similarity is looked for at other
widths, too, as a ranking does. Parts of a network are not compared one by one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from transfer.alignment.similarity import best_similarity
from transfer.structure.records import Architecture
from zoo_index.database.loading import StoredTable
from zoo_index.index import embedding
from zoo_index.index.search import Search

__all__ = ["N_NEIGHBOURS", "Neighbours", "all_neighbours", "neighbours_of"]

N_NEIGHBOURS = 8
"""Neighbours of each kind."""

_N_NEAR = 32
"""Nearest by embedding that are scored exactly."""

Scored = tuple[tuple[int, float], ...]
"""Ids of architectures and their similarities, best first."""


@dataclass(frozen=True)
class Neighbours:
    """Who is near an architecture.

    Parameters
    ----------
    sources : tuple of (int, float)
        Ids of the best sources for it, with their similarities, best first.
    targets : tuple of (int, float)
        Ids of the architectures that it is a good source for; the same.
    """

    sources: Scored
    targets: Scored


def neighbours_of(search: Search, id_: int) -> Neighbours:
    """Find the neighbours of one architecture of the index.

    Parameters
    ----------
    search : Search
    id_ : int
    """
    target = search.shapes([id_], "dpiat").get(id_)
    if target is None:
        return Neighbours((), ())
    near = [id_, *_near(search, id_, target)]
    table = search.table_of(np.array(sorted(near), dtype=np.int64), "dpiat")
    known = search.shapes(near, "dpiat")
    plain = {(source, id_): score for source, score in _row(known[id_], table, id_)}
    own = table.select([id_])
    for other in near[1:]:
        if other in known:
            plain[id_, other] = float(embedding.target_row(known[other], own)[0])
    exact = _exactly(search, known, near)
    return _chosen(id_, [s for s, t in plain if t == id_], [t for s, t in plain if s == id_], plain, exact)


def all_neighbours(
    search: Search,
    ids: NDArray[np.int64],
    vectors: NDArray[np.float32],
    progress: Callable[[int, int], None] = lambda done, planned: None,
) -> dict[int, Neighbours]:
    """Find the neighbours of many architectures, among themselves.

    Parameters
    ----------
    search : Search
    ids : ndarray of shape (n,), int64
    vectors : ndarray of shape (n, d), float32
        Of the embedding.
    progress : callable
        Called with the number done and the number planned.
    """
    table = search.table("dpiat")
    known = search.shapes(ids.tolist(), "dpiat")
    plain: dict[tuple[int, int], float] = {}
    sources_of, targets_of = defaultdict(list), defaultdict(list)
    for done, (id_, vector) in enumerate(zip(ids.tolist(), vectors, strict=True), start=1):
        rows = np.argsort(-(vectors @ vector), kind="stable")[: _N_NEAR + 1]
        for source, score in _row(known[id_], table.select(np.sort(ids[rows])), id_):
            plain[source, id_] = score
            sources_of[id_].append(source)
            targets_of[source].append(id_)
        progress(done, 2 * len(known))
    exact = _exactly(search, known, list(known))
    found = {}
    for done, id_ in enumerate(known, start=1):
        found[id_] = _chosen(id_, sources_of[id_], targets_of[id_], plain, exact)
        progress(len(known) + done, 2 * len(known))
    return found


def _near(search: Search, id_: int, architecture: Architecture) -> list[int]:
    """Ids of the nearest others by embedding."""
    near = search.nearest(architecture, _N_NEAR + 1)
    return [other for other in near.tolist() if other != id_][:_N_NEAR]


def _row(target: Architecture, table: StoredTable, id_: int) -> list[tuple[int, float]]:
    """Score the sources of a table, the target itself aside."""
    scores = embedding.target_row(target, table).tolist()
    return [(source, score) for source, score in zip(table.ids.tolist(), scores, strict=True) if source != id_]


def _exactly(
    search: Search, known: dict[int, Architecture], ids: Sequence[int]
) -> Callable[[int, int, float], float]:
    """Return what finds the similarity at the widths that suit both best."""
    unordered = search.by_header(ids)
    kept: dict[tuple[int, int], float] = {}

    def similarity(source: int, target: int, plain: float) -> float:
        if (source, target) not in kept:
            kept[source, target] = best_similarity(
                known[source], known[target], plain, trees=(), is_ordered=source not in unordered
            )
        return kept[source, target]

    return similarity


def _chosen(
    id_: int,
    sources: Sequence[int],
    targets: Sequence[int],
    plain: dict[tuple[int, int], float],
    exact: Callable[[int, int, float], float],
) -> Neighbours:
    def best(pairs: Sequence[tuple[int, int]], which: int) -> Scored:
        leading = sorted(pairs, key=lambda pair: (-plain[pair], pair))[:N_NEIGHBOURS]
        scored = [(pair[which], exact(*pair, plain[pair])) for pair in leading]
        return tuple(sorted(((other, score) for other, score in scored if score > 0), key=lambda s: (-s[1], s[0])))

    return Neighbours(best([(s, id_) for s in sources], 0), best([(id_, t) for t in targets], 1))
