"""The best sources compared once more: at other widths, tower by tower, files in the order of the target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from transfer.alignment.matching import plain_similarity
from transfer.alignment.similarity import best_similarity
from transfer.alignment.towers import subtrees
from transfer.planning.sides import Sides
from transfer.structure.behaviour import agreement
from transfer.structure.records import Architecture
from zoo_index.database.loading import StoredTable
from zoo_index.index import embedding
from zoo_index.index.search import Search
from zoo_index.recommending.files import are_named, read_file
from zoo_index.recommending.ordering import leading, tied

__all__ = ["CloserLook", "compare_closely"]

_MOST_READ = 16
"""Files of sources that are read once more, in the order of the target: that takes 25 ms for 200 layers each."""

_MOST_PAIRS_READ = 1 << 21
"""Pairs of layers, one of such a file and one of the target, in all that are read."""


@dataclass(frozen=True)
class CloserLook:
    """The best sources after a closer look.

    Parameters
    ----------
    rows : ndarray of shape (n,), intp
        Of the table, no fewer than the results that are wanted.
    scores : ndarray of float64
        Of every row of the table.
    read : dict of int to Sides
        Files that were read in the order of the target, by the id of their architecture.
    agreements : dict of int to float
        How far the layers of a source do what those of the target do, by row; of those that are as high as others.
    """

    rows: NDArray[np.intp]
    scores: NDArray[np.float64]
    read: dict[int, Sides]
    agreements: dict[int, float]


def compare_closely(
    search: Search,
    table: StoredTable,
    target: Architecture,
    rows: NDArray[np.intp],
    scores: NDArray[np.float64],
    *,
    k: int,
    file_of: Callable[[int], Path | None],
) -> CloserLook:
    """Compare the best sources as `transfer.similarity` does.

    Parameters
    ----------
    search : Search
    table : StoredTable
    target : Architecture
        In ``dpiat`` form.
    rows : ndarray of shape (n,), intp
        Of the sources that are the best ones at their true widths.
    scores : ndarray of float64
        Of every row of the table, at true widths.
    k : int
        How many results are wanted.
    file_of : callable
        Returns the first file that there is of a row's weights.

    Returns
    -------
    CloserLook
    """
    scores = scores.copy()
    regrouped = embedding.grouped_otherwise(target, table, scores)
    rows = np.union1d(rows, regrouped)
    trees = subtrees(target)
    ids = table.ids[rows].tolist()
    known = (search.architectures if len(trees) > 1 else search.shapes)(ids, "dpiat")  # towers are found by names
    unordered = search.by_header(ids)
    for row in regrouped:
        scores[row] = plain_similarity(known[int(table.ids[row])], target)
    # what is below cannot be among the first k
    least = float(np.sort(scores[rows])[-k]) if len(rows) >= k else 0.0
    for row, id_ in zip(rows, ids, strict=True):
        is_ordered = id_ not in unordered
        plain = float(scores[row])
        scores[row] = best_similarity(known[id_], target, plain, least=least, trees=trees, is_ordered=is_ordered)
    read = {}
    if are_named(target):
        by_header = rows[[id_ in unordered for id_ in ids]]
        files = _read(by_header[np.argsort(-scores[by_header], kind="stable")], target, file_of)
        for row, sides in files.items():
            read[int(table.ids[row])] = sides
            scores[row] = best_similarity(sides.source, target, trees=trees, is_ordered=False)
    rows = leading(rows, scores, k)
    known = search.architectures(table.ids[rows].tolist(), "dpiat")
    agreements = {row: agreement(known[int(table.ids[row])], target) for row in tied(rows, scores)}
    return CloserLook(rows, scores, read, agreements)


def _read(rows: NDArray[np.intp], target: Architecture, file_of: Callable[[int], Path | None]) -> dict[int, Sides]:
    """Read the files of some sources in the order of the target, as many as are allowed."""
    found: dict[int, Sides] = {}
    n_pairs = _MOST_PAIRS_READ
    for row in rows.tolist():
        path = file_of(row) if len(found) < _MOST_READ else None
        sides = None if path is None else read_file(path, target, n_pairs)
        if sides is not None:
            found[row] = sides
            n_pairs -= sides.source.n_scoring * target.n_scoring
    return found
