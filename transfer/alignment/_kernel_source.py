"""The kernels as numba compiles them: loops over arrays that the caller owns; nothing is allocated, nothing fails.

Symbols: n targets i, m sources j, S (n, m) scores in [0, 1] or sums of such. The programme (arXiv 2212.13970,
matching) is

    V[i, j] = max( V[i-1, j],  V[i, j-1],
                   max over k <= i of  V[k-1, j-1] + (S[k, j] + ... + S[i, j]) / sqrt(i - k + 1) )

One source item may feed the run k..i of targets; leaving items out costs nothing. Two things keep the innermost
loop short, and neither changes a single bit of the result:

- A run that starts or ends with a score of 0 is never better than the same run without that item, and on equal
  value the shorter run wins, so such runs are not looked at.
- A run earns at most the root of the sum of its squared scores (Cauchy-Schwarz), and V grows with i. So once
  V[k-1, j-1] plus the root of the sum of all squares up to i falls below the best value found, no longer run can
  win.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["SIGNATURES", "define"]

SIGNATURES = {
    "layer_scores": ("void", "int64* int64 float64* int64* int64 float64* int64 float64*"),
    "block_scores": (
        "void",
        "float64* int64 int64 int64* int64* bool* int64 int64* int64* bool* int64 int64 int64 float64* float64*",
    ),
    "rank_values": ("void", "float64* int64 int64* int64 int64* int64* int64 int64 float64* float64*"),
    "align_value": ("float64", "float64* int64 int64 float64*"),
    "trace": ("int64", "float64* int64 int64 float64* float64* int64* int64*"),
}
"""Result and arguments of each kernel: pointers and numbers.

A workspace has rows of one more than the longest list of targets: the square roots of 0, 1, 2 ..., two columns of
V, and the scores of one source.
"""

_MARGIN = 1.000001
"""On the sum of squares, so that rounding cannot make a bound too small."""


def define(jit: Callable[[Any], Any], array: Callable[[Any, Any], Any]) -> dict[str, Callable[..., Any]]:
    """Define the kernels.

    Parameters
    ----------
    jit : callable
        Compiles a function that kernels call.
    array : callable
        Views memory at a pointer as an array of a shape.

    Returns
    -------
    dict of str to callable
        To be compiled with `SIGNATURES`.
    """

    @jit
    def step(scores, previous, current, n, roots):  # type: ignore[no-untyped-def]
        """Add one source: fill column `current` (n + 1) of V from `previous`, given its n scores."""
        current[0] = 0.0
        squares = 0.0
        for i in range(1, n + 1):
            best = current[i - 1] if current[i - 1] > previous[i] else previous[i]
            score = scores[i - 1]
            if score > 0.0:
                squares += score * score
                limit = squares * _MARGIN
                total = 0.0
                for k in range(i, 0, -1):
                    lead = best - previous[k - 1]
                    if lead > 0.0 and lead * lead > limit:
                        break
                    score = scores[k - 1]
                    if score > 0.0:
                        total += score
                        value = previous[k - 1] + total / roots[i - k + 1]
                        if value > best:
                            best = value
            current[i] = best

    def layer_scores(t_kind_, n, t_dims_, s_kind_, m, s_dims_, r, out_):  # type: ignore[no-untyped-def]
        t_kind, t_dims = array(t_kind_, (n,)), array(t_dims_, (n, r))
        s_kind, s_dims = array(s_kind_, (m,)), array(s_dims_, (m, r))
        out = array(out_, (m, n))
        for j in range(m):
            kind = s_kind[j]
            for i in range(n):
                if kind < 0 or t_kind[i] != kind:
                    out[j, i] = 0.0
                    continue
                score = 1.0
                for d in range(r):
                    x, y = s_dims[j, d], t_dims[i, d]
                    if x < y:
                        score *= x / y
                    elif y < x:
                        score *= y / x
                out[j, i] = score

    def block_scores(  # type: ignore[no-untyped-def]
        layers_,
        n_layers,
        n,
        t_start_,
        t_layer_,
        t_single_,
        m,
        s_start_,
        s_layer_,
        s_single_,
        begin,
        end,
        longest,
        work_,
        out_,
    ):
        t_start, t_single = array(t_start_, (n + 1,)), array(t_single_, (n,))
        s_start, s_single = array(s_start_, (m + 1,)), array(s_single_, (m,))
        t_layer, s_layer = array(t_layer_, (t_start[n],)), array(s_layer_, (s_start[m],))
        layers = array(layers_, (s_layer.size + 1, n_layers))  # more rows than there are; those used exist
        work, out = array(work_, (4, longest + 1)), array(out_, (end - begin, n))
        roots, column = work[0], work[3]
        for j in range(begin, end):
            if s_single[j]:
                row = s_layer[s_start[j]]
                for i in range(n):
                    out[j - begin, i] = layers[row, t_layer[t_start[i]]] if t_single[i] else 0.0
                continue
            for i in range(n):
                out[j - begin, i] = 0.0
                if t_single[i]:
                    continue
                first, size = t_start[i], t_start[i + 1] - t_start[i]
                now = 1
                is_fresh = True
                for b in range(s_start[j], s_start[j + 1]):
                    row = s_layer[b]
                    is_alive = False
                    for t in range(size):
                        score = layers[row, t_layer[first + t]]
                        column[t] = score
                        is_alive = is_alive or score > 0.0
                    if is_alive:  # otherwise the new column of V equals the old one
                        if is_fresh:
                            for t in range(size + 1):
                                work[now, t] = 0.0
                            is_fresh = False
                        step(column, work[now], work[3 - now], size, roots)
                        now = 3 - now
                if not is_fresh:
                    out[j - begin, i] = work[now, size]

    def rank_values(scores_, n_items, t_item_, n, s_start_, s_item_, begin, end, work_, out_):  # type: ignore[no-untyped-def]
        t_item, s_start = array(t_item_, (n,)), array(s_start_, (end + 1,))
        s_item = array(s_item_, (s_start[end],))
        scores = array(scores_, (s_item.size + 1, n_items))  # more rows than there are; those used exist
        work, out = array(work_, (4, n + 1)), array(out_, (end - begin,))
        roots, column = work[0], work[3]
        for a in range(begin, end):
            now = 1
            for t in range(n + 1):
                work[1, t] = 0.0
            for b in range(s_start[a], s_start[a + 1]):
                row = s_item[b]
                is_alive = False
                for t in range(n):
                    score = scores[row, t_item[t]]
                    column[t] = score
                    is_alive = is_alive or score > 0.0
                if is_alive:
                    step(column, work[now], work[3 - now], n, roots)
                    now = 3 - now
            out[a - begin] = work[now, n]

    def align_value(scores_, n, m, work_):  # type: ignore[no-untyped-def]
        scores, work = array(scores_, (m, n)), array(work_, (4, n + 1))
        now = 1
        for i in range(n + 1):
            work[now, i] = 0.0
        for j in range(m):
            step(scores[j], work[now], work[3 - now], n, work[0])
            now = 3 - now
        return work[now, n]

    def trace(scores_, n, m, roots_, values_, choices_, pairs_):  # type: ignore[no-untyped-def]
        scores, roots, pairs = array(scores_, (m, n)), array(roots_, (n + 1,)), array(pairs_, (n, 2))
        values, choices = array(values_, (m + 1, n + 1)), array(choices_, (m + 1, n + 1))
        for i in range(n + 1):
            values[0, i] = 0.0
        # 0: source j unused, -1: target i unmatched, k > 0: source j feeds the targets k..i
        for j in range(1, m + 1):
            values[j, 0] = 0.0
            squares = 0.0
            for i in range(1, n + 1):
                best, choice = values[j - 1, i], 0
                if values[j, i - 1] > best:
                    best, choice = values[j, i - 1], -1
                score = scores[j - 1, i - 1]
                if score > 0.0:
                    squares += score * score
                    limit = squares * _MARGIN
                    total = 0.0
                    for k in range(i, 0, -1):
                        lead = best - values[j - 1, k - 1]
                        if lead > 0.0 and lead * lead > limit:
                            break
                        score = scores[j - 1, k - 1]
                        if score > 0.0:
                            total += score
                            value = values[j - 1, k - 1] + total / roots[i - k + 1]
                            if value > best:
                                best, choice = value, k
                values[j, i], choices[j, i] = best, choice
        count = 0
        i, j = n, m
        while i > 0 and j > 0:
            choice = choices[j, i]
            if choice < 0:
                i -= 1
            elif choice == 0:
                j -= 1
            else:
                for t in range(i, choice - 1, -1):
                    if scores[j - 1, t - 1] > 0.0:
                        pairs[count, 0], pairs[count, 1] = t - 1, j - 1
                        count += 1
                i, j = choice - 1, j - 1
        return count

    kernels = (layer_scores, block_scores, rank_values, align_value, trace)
    return {kernel.__name__: kernel for kernel in kernels}
