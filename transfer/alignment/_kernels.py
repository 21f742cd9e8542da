"""The compiled kernels as functions of numpy arrays.

Each of them trusts the shapes it is told and owns what it returns. The source is in `_kernel_source`, how it
becomes machine code in `_machine_code`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer.alignment._machine_code import kernels

__all__ = ["align_value", "block_scores", "layer_scores", "rank_values", "trace"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


def layer_scores(t_kind: Ints, t_dims: Floats, s_kind: Ints, s_dims: Floats) -> Floats:
    """Shape score of every layer pair: product over dimensions of min(x/y, y/x); 0 for unlike kinds.

    Parameters
    ----------
    t_kind, s_kind : ndarray of shape (n,), (m,), int64
        Negative for layers that never match.
    t_dims, s_dims : ndarray of shape (n, r), (m, r), float64
        Dimensions, padded with 1.

    Returns
    -------
    ndarray of shape (m, n), float64
        Source by source.
    """
    n, m, r = len(t_kind), len(s_kind), t_dims.shape[1]
    out = np.empty((m, n))
    arrays = [_whole(a, t) for a, t in ((t_kind, "i8"), (t_dims, "f8"), (s_kind, "i8"), (s_dims, "f8"))]
    kernels()["layer_scores"](_at(arrays[0]), n, _at(arrays[1]), _at(arrays[2]), m, _at(arrays[3]), r, _at(out))
    return out


def block_scores(
    layers: Floats,
    t_start: Ints,
    t_layer: Ints,
    t_single: Bools,
    s_start: Ints,
    s_layer: Ints,
    s_single: Bools,
    begin: int,
    end: int,
) -> Floats:
    """Score the target's items against some of the sources' items.

    Parameters
    ----------
    layers : ndarray of shape (n_layers_source, n_layers_target), float64
        From `layer_scores`.
    t_start, s_start : ndarray of shape (n + 1,), (m + 1,), int64
        Item i owns the layers ``layer[start[i]:start[i + 1]]``.
    t_layer, s_layer : ndarray, int64
        Columns and rows of `layers`.
    t_single, s_single : ndarray of shape (n,), (m,), bool
        True for an item that is a layer, not a block; a layer scores 0 against a block.
    begin, end : int
        Range of source items.

    Returns
    -------
    ndarray of shape (end - begin, n), float64
        Value of the inner programme, not normalised.
    """
    n, m = len(t_single), len(s_single)
    longest = int(np.diff(t_start).max(initial=0))
    work, out = _workspace(longest), np.empty((end - begin, n))
    layers = _whole(layers, "f8")
    t = [_whole(a, k) for a, k in ((t_start, "i8"), (t_layer, "i8"), (t_single, "?"))]
    s = [_whole(a, k) for a, k in ((s_start, "i8"), (s_layer, "i8"), (s_single, "?"))]
    ours, theirs = map(_at, t), map(_at, s)
    kernels()["block_scores"](
        _at(layers), layers.shape[1], n, *ours, m, *theirs, begin, end, longest, _at(work), _at(out)
    )
    return out


def rank_values(by_source: Floats, t_item: Ints, s_start: Ints, s_item: Ints, begin: int, end: int) -> Floats:
    """Score many sources for one target.

    Parameters
    ----------
    by_source : ndarray of shape (n_items_source, n_items_target), float64
        From `block_scores`, over distinct items.
    t_item : ndarray of shape (n,), int64
        The target, as columns of `by_source`.
    s_start : ndarray of shape (n_sources + 1,), int64
        Source a consists of the rows ``s_item[s_start[a]:s_start[a + 1]]``.
    s_item : ndarray, int64
    begin, end : int
        Range of sources to score.

    Returns
    -------
    ndarray of shape (end - begin,), float64
        V of each source.
    """
    n = len(t_item)
    work, out = _workspace(n), np.empty(end - begin)
    by_source = _whole(by_source, "f8")
    t_item, s_start, s_item = (_whole(a, "i8") for a in (t_item, s_start, s_item))
    kernels()["rank_values"](
        _at(by_source),
        by_source.shape[1],
        _at(t_item),
        n,
        _at(s_start),
        _at(s_item),
        begin,
        end,
        _at(work),
        _at(out),
    )
    return out


def align_value(scores: Floats) -> float:
    """Return V[n, m] for scores of shape (n, m)."""
    n, m = scores.shape
    rows, work = _whole(scores.T, "f8"), _workspace(n)
    return float(kernels()["align_value"](_at(rows), n, m, _at(work)))


def trace(scores: Floats) -> Ints:
    """Return the pairs (target, source) of the best alignment, ascending, as int64 of shape (n_pairs, 2).

    Ties as published: an unused source wins over an unmatched target, both win over a match, a shorter run
    wins over a longer one.
    """
    n, m = scores.shape
    rows, roots = _whole(scores.T, "f8"), _roots(n)
    values, choices = np.empty((m + 1, n + 1)), np.empty((m + 1, n + 1), dtype=np.int64)
    pairs = np.empty((n, 2), dtype=np.int64)
    count = kernels()["trace"](_at(rows), n, m, _at(roots), _at(values), _at(choices), _at(pairs))
    return pairs[:count][::-1].copy()


def _whole(array: NDArray[Any], dtype: str) -> NDArray[Any]:
    """Return an array that lies in memory as the kernels expect."""
    return np.ascontiguousarray(array, dtype=dtype)


def _at(array: NDArray[Any]) -> int:
    return int(array.ctypes.data)


def _roots(n: int) -> Floats:
    roots: Floats = np.sqrt(np.arange(n + 1, dtype=np.float64))
    return roots


def _workspace(n: int) -> Floats:
    work = np.empty((4, n + 1))
    work[0] = _roots(n)
    return work
