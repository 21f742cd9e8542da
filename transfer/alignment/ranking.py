"""Exact scores of many sources for one target.

Each distinct item of the target is scored once against each distinct item of the sources; then one small
dynamic programme per source finishes. Threads share the work (the kernels release the interpreter lock).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer.alignment import _kernels
from transfer.alignment.tables import Table, table_of
from transfer.structure.records import Architecture

__all__ = ["item_scores", "layer_scores", "rank", "similarities"]

_PARALLEL_ITEMS = 256
"""Sources with fewer distinct items than this are scored by one thread: handing out costs more."""


def rank(target: Architecture, sources: Table) -> NDArray[np.float64]:
    """Score V(source, target) for every source.

    Parameters
    ----------
    target : Architecture
    sources : Table
        In the same form.

    Returns
    -------
    ndarray of shape (n_sources,), float64
        Not normalised; see `similarities`.
    """
    single = table_of(target)
    distinct, rows = np.unique(single.item, return_inverse=True)
    assert len(distinct) == len(single.item_single)
    by_source = item_scores(single, sources)
    order = rows.astype(np.int64)
    return _spread(
        lambda begin, end: _kernels.rank_values(by_source, order, sources.start, sources.item, begin, end),
        len(sources),
        parallel=len(sources.item_single) >= _PARALLEL_ITEMS,
    )


def layer_scores(target: Table, sources: Table) -> NDArray[np.float64]:
    """Score every distinct layer of `target` against every distinct layer of `sources`.

    Returns
    -------
    ndarray of shape (n_source_layers, n_target_layers), float64
    """
    return _kernels.layer_scores(target.layer_kind, target.layer_dims, sources.layer_kind, sources.layer_dims)


def item_scores(target: Table, sources: Table, layers: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """Score every distinct item of `target` against every distinct item of `sources`.

    Parameters
    ----------
    target, sources : Table
    layers : ndarray of shape (n_source_layers, n_target_layers), float64, optional
        From `layer_scores`, if they are known.

    Returns
    -------
    ndarray of shape (n_source_items, n_target_items), float64
        The scores of one source item lie side by side.
    """
    known = layer_scores(target, sources) if layers is None else layers

    def part(begin: int, end: int) -> NDArray[np.float64]:
        return _kernels.block_scores(
            known,
            target.item_start,
            target.item_layer,
            target.item_single,
            sources.item_start,
            sources.item_layer,
            sources.item_single,
            begin,
            end,
        )

    n = len(sources.item_single)
    return _spread(part, n, parallel=n >= _PARALLEL_ITEMS)


def similarities(
    values: NDArray[np.float64], n_target: int, n_sources: NDArray[np.int64], *, measure: str
) -> NDArray[np.float64]:
    """Normalise scores to [0, 1].

    With n(A) the number of scoring layers of A, which equals V(A, A):

        paper   V(S, T) / n(T)                   published; 1 wherever the source covers the target
        dpiat   V(S, T) / sqrt(n(S) n(T))        symmetric form; unused source layers count against it

    The dpiat value is at most 1 by Cauchy-Schwarz: a source layer feeding d targets earns at most sqrt(d).

    Parameters
    ----------
    values : ndarray of shape (n_sources,), float64
    n_target : int
        n(T).
    n_sources : ndarray of shape (n_sources,), int64
        n(S).
    measure : {'dpiat', 'paper'}

    Returns
    -------
    ndarray of shape (n_sources,), float64, in [0, 1]
    """
    if n_target == 0:
        return np.zeros(len(values))
    scale = np.sqrt(n_target * n_sources.astype(np.float64)) if measure == "dpiat" else float(n_target)
    with np.errstate(invalid="ignore", divide="ignore"):
        result: NDArray[np.float64] = np.where(n_sources > 0, values / scale, 0.0)
    return np.clip(result, 0.0, 1.0)


@cache
def _pool() -> tuple[ThreadPoolExecutor, int]:
    n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return ThreadPoolExecutor(n, thread_name_prefix="zoo-rank"), n


if hasattr(os, "register_at_fork"):  # a copy of this process has the pool, but none of its threads
    os.register_at_fork(after_in_child=_pool.cache_clear)


def _spread(part: Callable[[int, int], NDArray[Any]], n: int, *, parallel: bool) -> NDArray[np.float64]:
    """Call ``part(begin, end)`` over ranges of `n` and join the results."""
    if not parallel:
        return part(0, n)
    pool, n_threads = _pool()
    edges = np.linspace(0, n, min(n, 4 * n_threads) + 1).astype(int)
    return np.concatenate(list(pool.map(part, edges[:-1].tolist(), edges[1:].tolist())))
