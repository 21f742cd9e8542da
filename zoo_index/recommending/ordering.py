"""A total order of sources: ties are common, and people want the same answer twice."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from zoo_index.database.entries import Entry

__all__ = ["by_quality", "leading", "order_sources", "tied"]

_DIGITS = 12
"""Scores that agree in so many are equal: sums were added up in another order."""

_TIE = 1e-12


def leading(rows: NDArray[np.intp], scores: NDArray[np.float64], n: int) -> NDArray[np.intp]:
    """Rows of the `n` highest scores and of all that are as high as the last of these."""
    if len(rows) <= n:
        return rows
    least = np.sort(scores[rows])[-n] - _TIE
    return np.array(rows[scores[rows] > least])


def tied(rows: NDArray[np.intp], scores: NDArray[np.float64]) -> list[int]:
    """Rows that others are as high as."""
    levels = [round(score, _DIGITS) for score in scores[rows].tolist()]
    times = Counter(levels)
    return [row for row, level in zip(rows.tolist(), levels, strict=True) if times[level] > 1]


def by_quality(entry: Entry) -> tuple[float, int]:
    """Order weights of one architecture: published accuracy, known before unknown, then the catalogue's order."""
    return (0.0 if entry["top1"] is None else -entry["top1"], entry["position"])


def order_sources(
    scores: NDArray[np.float64],
    n_scoring: NDArray[np.int64],
    n_target: int,
    accuracies: Sequence[float | None],
    sizes: Sequence[int],
    target_size: int,
    names: Sequence[str],
    likeness: Sequence[float],
) -> list[int]:
    """Rows of the sources, best first, in a total order.

    Ties are common: under the published measure half of timm's architectures have another one at exactly 1.
    The order is: similarity; then how far the layers do the same; then the symmetric similarity (fewer source
    layers that go unused); then the published accuracy, known before unknown; then the number of parameters nearest
    to the target's; then the name.

    Parameters
    ----------
    scores : ndarray of shape (n,), float64
    n_scoring : ndarray of shape (n,), int64
        Scoring layers of each source.
    n_target : int
        Scoring layers of the target.
    accuracies : sequence of float or None
        Published, of each source.
    sizes : sequence of int
        Parameters of each source.
    target_size : int
        Parameters of the target.
    names : sequence of str
    likeness : sequence of float
        How likely each source computes what the target does.

    Returns
    -------
    list of int
    """

    def key(row: int) -> tuple[float, float, float, float, float, str]:
        surplus = math.log(max(int(n_scoring[row]), 1) / max(n_target, 1))
        size = abs(math.log(max(sizes[row], 1) / max(target_size, 1)))
        known = accuracies[row]
        quality = 0.0 if known is None else -known
        like = -round(likeness[row], 12)
        return (-round(float(scores[row]), _DIGITS), like, max(surplus, 0.0), quality, round(size, 12), names[row])

    return sorted(range(len(scores)), key=key)
