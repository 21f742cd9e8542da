"""Every numba kernel: scores of layer pairs, dynamic programmes, ranking of many sources.

Kernels map arrays to arrays and trust their input. All of them live in this one module because numba's
cache is stamped with this file alone: a cached kernel would not notice a change in another module.

Symbols: n targets i, m sources j, S (n, m) scores in [0, 1] or sums of such. The programme (arXiv
2212.13970, matching) is

    V[i, j] = max( V[i-1, j],  V[i, j-1],
                   max over k <= i of  V[k-1, j-1] + (S[k, j] + ... + S[i, j]) / sqrt(i - k + 1) )

One source item may feed the run k..i of targets; leaving items out costs nothing.

A run that starts or ends with a score of 0 is never better than the same run without that item, and
on equal value the shorter run wins, so such runs are not looked at.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

__all__ = ["CACHED", "align_value", "block_scores", "layer_scores", "rank_values", "trace"]

Array = np.ndarray[Any, Any]


def _probe_cache() -> bool:
    """Whether numba finds a place to cache compiled kernels of this file (not so in a read-only install)."""

    def probe() -> None:
        pass

    try:
        numba.njit(cache=True)(probe)
    except RuntimeError:
        return False
    return True


CACHED = _probe_cache()
"""False where every process has to compile the kernels anew."""

_jit = numba.njit(cache=CACHED, nogil=True, fastmath=False)


@_jit
def layer_scores(t_kind, t_dims, s_kind, s_dims):  # type: ignore[no-untyped-def]
    """Shape score of every layer pair: product over dimensions of min(x/y, y/x); 0 for unlike kinds.

    Parameters
    ----------
    t_kind, s_kind : ndarray of shape (n,), (m,), int64
        Negative for layers that never match.
    t_dims, s_dims : ndarray of shape (n, r), (m, r), float64
        Dimensions, padded with 1.

    Returns
    -------
    ndarray of shape (n, m), float64
    """
    n, m, r = t_kind.shape[0], s_kind.shape[0], t_dims.shape[1]
    out = np.zeros((n, m))
    for i in range(n):
        if t_kind[i] < 0:
            continue
        for j in range(m):
            if t_kind[i] != s_kind[j]:
                continue
            score = 1.0
            for d in range(r):
                x, y = s_dims[j, d], t_dims[i, d]
                if x < y:
                    score *= x / y
                elif y < x:
                    score *= y / x
            out[i, j] = score
    return out


@_jit
def _step(scores, previous, current, n, roots):  # type: ignore[no-untyped-def]
    """Add one source: fill column `current` (n + 1) of V from `previous`, given its n scores."""
    current[0] = 0.0
    for i in range(1, n + 1):
        best = current[i - 1] if current[i - 1] > previous[i] else previous[i]
        if scores[i - 1] > 0.0:
            total = 0.0
            for k in range(i, 0, -1):
                score = scores[k - 1]
                if score > 0.0:
                    total += score
                    value = previous[k - 1] + total / roots[i - k + 1]
                    if value > best:
                        best = value
        current[i] = best


@_jit
def align_value(scores):  # type: ignore[no-untyped-def]
    """Return V[n, m] for scores of shape (n, m)."""
    n, m = scores.shape
    roots = np.sqrt(np.arange(n + 1).astype(np.float64))
    previous, current = np.zeros(n + 1), np.zeros(n + 1)
    for j in range(m):
        _step(scores[:, j], previous, current, n, roots)
        previous, current = current, previous
    return previous[n]


@_jit
def trace(scores):  # type: ignore[no-untyped-def]
    """Return the pairs (target, source) of the best alignment, ascending, as int64 of shape (n_pairs, 2).

    Ties as published: an unused source wins over an unmatched target, both win over a match, a shorter run
    wins over a longer one.
    """
    n, m = scores.shape
    roots = np.sqrt(np.arange(n + 1).astype(np.float64))
    values = np.zeros((n + 1, m + 1))
    # 0: source j unused, -1: target i unmatched, k > 0: source j feeds the targets k..i
    choices = np.zeros((n + 1, m + 1), dtype=np.int64)
    for j in range(1, m + 1):
        for i in range(1, n + 1):
            best, choice = values[i, j - 1], 0
            if values[i - 1, j] > best:
                best, choice = values[i - 1, j], -1
            if scores[i - 1, j - 1] > 0.0:
                total = 0.0
                for k in range(i, 0, -1):
                    score = scores[k - 1, j - 1]
                    if score > 0.0:
                        total += score
                        value = values[k - 1, j - 1] + total / roots[i - k + 1]
                        if value > best:
                            best, choice = value, k
            values[i, j], choices[i, j] = best, choice
    pairs = np.empty((n, 2), dtype=np.int64)
    count = 0
    i, j = n, m
    while i > 0 and j > 0:
        choice = choices[i, j]
        if choice < 0:
            i -= 1
        elif choice == 0:
            j -= 1
        else:
            for t in range(i, choice - 1, -1):
                if scores[t - 1, j - 1] > 0.0:
                    pairs[count, 0], pairs[count, 1] = t - 1, j - 1
                    count += 1
            i, j = choice - 1, j - 1
    return pairs[:count][::-1].copy()


@_jit
def block_scores(layers, t_start, t_layer, t_single, s_start, s_layer, s_single):  # type: ignore[no-untyped-def]
    """Score every target item against every source item.

    Parameters
    ----------
    layers : ndarray of shape (n_layers_target, n_layers_source), float64
        From `layer_scores`.
    t_start, s_start : ndarray of shape (n + 1,), (m + 1,), int64
        Item i owns the layers ``layer[start[i]:start[i + 1]]``.
    t_layer, s_layer : ndarray, int64
        Rows and columns of `layers`.
    t_single, s_single : ndarray of shape (n,), (m,), bool
        True for an item that is a layer, not a block; a layer scores 0 against a block.

    Returns
    -------
    ndarray of shape (n, m), float64
        Value of the inner programme, not normalised.
    """
    n, m = t_single.shape[0], s_single.shape[0]
    out = np.zeros((n, m))
    longest = 0
    for i in range(n):
        longest = max(longest, t_start[i + 1] - t_start[i])
    roots = np.sqrt(np.arange(longest + 1).astype(np.float64))
    previous, current = np.zeros(longest + 1), np.zeros(longest + 1)
    column = np.zeros(longest)
    for i in range(n):
        a, size = t_start[i], t_start[i + 1] - t_start[i]
        for j in range(m):
            if t_single[i] != s_single[j]:
                continue
            if t_single[i]:
                out[i, j] = layers[t_layer[a], s_layer[s_start[j]]]
                continue
            previous[: size + 1] = 0.0
            for b in range(s_start[j], s_start[j + 1]):
                source = s_layer[b]
                alive = False
                for t in range(size):
                    score = layers[t_layer[a + t], source]
                    column[t] = score
                    alive = alive or score > 0.0
                if alive:  # otherwise the new column of V equals the old one
                    _step(column, previous, current, size, roots)
                    previous, current = current, previous
            out[i, j] = previous[size]
    return out


@_jit
def rank_values(by_source, t_item, s_start, s_item, begin, end):  # type: ignore[no-untyped-def]
    """Score many sources for one target.

    Parameters
    ----------
    by_source : ndarray of shape (n_items_source, n_items_target), float64
        From `block_scores`, over distinct items, transposed.
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
    n = t_item.shape[0]
    out = np.zeros(end - begin)
    roots = np.sqrt(np.arange(n + 1).astype(np.float64))
    previous, current, column = np.zeros(n + 1), np.zeros(n + 1), np.zeros(n)
    for a in range(begin, end):
        previous[:] = 0.0
        for b in range(s_start[a], s_start[a + 1]):
            alive = False
            for t in range(n):
                score = by_source[s_item[b], t_item[t]]
                column[t] = score
                alive = alive or score > 0.0
            if alive:
                _step(column, previous, current, n, roots)
                previous, current = current, previous
        out[a - begin] = previous[n]
    return out
