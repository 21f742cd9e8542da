"""Monotone alignment of two sequences by what their pairs are worth; leaving an element out costs nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["aligned", "aligned_value"]


def aligned(weights: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Pairs of rows and columns of the best monotone alignment, in order.

    Parameters
    ----------
    weights : array of shape (n_rows, n_columns)
        Not negative; what a pair is worth.

    Returns
    -------
    list of (row, column)
    """
    n, m = weights.shape
    best = np.zeros((n + 1, m + 1))
    for i, row in enumerate(weights):
        _step(row, best[i], best[i + 1])
    pairs = []
    i, j = n, m
    while i and j:
        if best[i, j] == best[i - 1, j]:
            i -= 1
        elif best[i, j] == best[i, j - 1]:
            j -= 1
        else:
            i, j = i - 1, j - 1
            pairs.append((i, j))
    return pairs[::-1]


def aligned_value(weights: NDArray[np.float64]) -> float:
    """Worth of the best monotone alignment, see `aligned`; in less time and memory."""
    best = np.zeros(weights.shape[1] + 1)
    for row in weights:
        _step(row, best, best)
    return float(best[-1])


def _step(row: NDArray[np.float64], above: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """One row of the dynamic programme: gaps cost nothing, so a row is the running maximum of its steps."""
    step = above[:-1] + row
    np.maximum(step, above[1:], out=step)
    np.maximum.accumulate(step, out=out[1:])
