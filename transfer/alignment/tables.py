"""Architectures as arrays: each distinct layer and each distinct block once.

A zoo repeats itself: 1151 architectures of timm hold 41 thousand items but only some 5 thousand distinct
blocks, which in turn hold some 5 thousand distinct layers. Scoring works on the distinct ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer.rearrangement import without_ones
from transfer.structure.records import Architecture, Block, Form, Item, Layer, remembered

__all__ = [
    "MAX_DIMS",
    "Table",
    "code_of",
    "kind_code",
    "kind_of",
    "n_shared_layers",
    "padded",
    "table_of",
    "tabulate",
]

MAX_DIMS = 6
"""Dimensions kept of a layer's shape; convolution has at most 5, a bare parameter of timm at most 5."""

_MIXING = ("linear", "conv1d", "conv2d", "conv3d")

_CODES: dict[tuple[str, int], int] = {}
"""Number of every (kind, number of dimensions) that was met; what mixes channels is ("conv2d", 4) in any number."""

_NUMBERING = Lock()


@dataclass(frozen=True)
class Table:
    """Distinct layers and items, and architectures as lists of items.

    Parameters
    ----------
    form : {'paper', 'dpiat'}
    layer_kind : ndarray of shape (n_layers,), int64
        From `kind_code`; negative for placeholders.
    layer_dims : ndarray of shape (n_layers, MAX_DIMS), float64
        Padded with 1.
    item_start : ndarray of shape (n_items + 1,), int64
    item_layer : ndarray, int64
        Item i owns the layers ``item_layer[item_start[i]:item_start[i + 1]]``.
    item_single : ndarray of shape (n_items,), bool
        True where the item is a single layer.
    start : ndarray of shape (n_architectures + 1,), int64
    item : ndarray, int64
        Architecture a owns the items ``item[start[a]:start[a + 1]]``.
    """

    form: Form
    layer_kind: NDArray[np.int64]
    layer_dims: NDArray[np.float64]
    item_start: NDArray[np.int64]
    item_layer: NDArray[np.int64]
    item_single: NDArray[np.bool_]
    start: NDArray[np.int64]
    item: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.start) - 1

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """Rows of the layers of all architectures, in order."""
        sizes = np.diff(self.item_start)[self.item]
        first = np.repeat(self.item_start[self.item] - np.cumsum(sizes) + sizes, sizes)
        found: NDArray[np.int64] = self.item_layer[first + np.arange(sizes.sum())]
        return found

    @cached_property
    def layer_counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """How often each architecture has each layer: rows of architectures, of layers, and counts."""
        n_layers = len(self.layer_kind)
        owner = np.repeat(np.arange(len(self)), np.diff(self.start))
        sizes = np.diff(self.item_start)[self.item]
        cells, counts = np.unique(np.repeat(owner, sizes) * n_layers + self.order, return_counts=True)
        return cells // max(n_layers, 1), cells % max(n_layers, 1), counts

    @cached_property
    def layer_rows(self) -> dict[tuple[int, bytes], list[int]]:
        """Rows of the layers of each kind and shape; without placeholders."""
        found: dict[tuple[int, bytes], list[int]] = {}
        for row, kind in enumerate(self.layer_kind.tolist()):
            if kind >= 0:
                found.setdefault((kind, self.layer_dims[row].tobytes()), []).append(row)
        return found

    def layers_of(self, item: int) -> NDArray[np.int64]:
        """Rows of the layers of a distinct item."""
        return self.item_layer[self.item_start[item] : self.item_start[item + 1]]

    def with_items(self, items: Iterable[tuple[bool, tuple[int, ...]]]) -> Table:
        """Return a table of one architecture of the same layers.

        Parameters
        ----------
        items : iterable of (bool, tuple of int)
            Of each item whether it is a single layer, and the rows of its layers.
        """
        distinct: dict[tuple[bool, tuple[int, ...]], int] = {}
        item = [distinct.setdefault(each, len(distinct)) for each in items]
        return Table(
            form=self.form,
            layer_kind=self.layer_kind,
            layer_dims=self.layer_dims,
            item_start=offsets(len(rows) for _, rows in distinct),
            item_layer=np.array([row for _, rows in distinct for row in rows], dtype=np.int64),
            item_single=np.array([single for single, _ in distinct], dtype=np.bool_),
            start=np.array([0, len(item)]),
            item=np.array(item, dtype=np.int64),
        )

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> Table:
        """Return a table of some architectures, in the given order, with only the items they use."""
        rows = np.asarray(rows, dtype=np.int64)
        parts = [self.item[self.start[row] : self.start[row + 1]] for row in rows]
        used, item = np.unique(concatenate(parts), return_inverse=True)
        layer_parts = [self.item_layer[self.item_start[i] : self.item_start[i + 1]] for i in used]
        kept, layer = np.unique(concatenate(layer_parts), return_inverse=True)
        return Table(
            self.form,
            self.layer_kind[kept],
            self.layer_dims[kept],
            offsets(map(len, layer_parts)),
            layer.astype(np.int64),
            self.item_single[used],
            offsets(map(len, parts)),
            item.astype(np.int64),
        )


@lru_cache(maxsize=2**15)
def kind_code(kind: str, dims: tuple[int, ...] | None) -> int:
    """Return the number of a kind, the same as long as the process lives; -1 where there is nothing to compare.

    A linear layer is a convolution of one position, and kernels are spread and summed over dimensions that others
    lack; `padded` fills these with 1.
    """
    if dims is None or len(dims) > MAX_DIMS:
        return -1
    dims = _told(kind, dims)
    return code_of("conv2d", 4) if _is_mixing(kind, dims) else code_of(kind, len(dims))


def code_of(kind: str, n_dims: int) -> int:
    """Return the number of a kind with a number of dimensions."""
    with _NUMBERING:
        return _CODES.setdefault((kind, n_dims), len(_CODES))


def kind_of(code: int) -> tuple[str, int]:
    """Return the kind and the number of dimensions behind a number of `kind_code`."""
    return list(_CODES)[code]


@lru_cache(maxsize=2**15)
def padded(kind: str, dims: tuple[int, ...] | None) -> tuple[float, ...]:
    """Dimensions as a row of `Table.layer_dims`; of a kernel height, width and time, so that like meets like."""
    known = [float(d) for d in _told(kind, dims or ())[:MAX_DIMS]]
    if _is_mixing(kind, dims or ()):
        outputs, inputs, *kernel = known
        time, height, width = [*[1.0] * (3 - len(kernel)), *kernel]
        known = [outputs, inputs, height, width, time]
    return (*known, *[1.0] * (MAX_DIMS - len(known)))


def _told(kind: str, dims: tuple[int, ...]) -> tuple[int, ...]:
    """Return the dimensions that tell something: a norm's scale may be of shape (C, 1, 1)."""
    return (without_ones(dims) or dims[:1]) if kind == "norm" else dims


def _is_mixing(kind: str, dims: tuple[int, ...]) -> bool:
    """Whether a layer is linear or a convolution of space or time.

    Some convolutions go over something else: those along channels read and give one (ECA, arXiv 1910.03151), those
    of lambda layers (arXiv 2102.08602) are flat in the last dimension only.
    """
    if kind not in _MIXING or not 2 <= len(dims) <= 5:
        return False
    kernel = dims[2:]
    is_along_channels = dims[:2] == (1, 1) and len(kernel) == 1 and kernel[0] > 1
    is_lambda = len(kernel) == 3 and kernel[0] > 1 and kernel[1] > 1 and kernel[2] == 1
    return not is_along_channels and not is_lambda


def offsets(sizes: Iterable[int]) -> NDArray[np.int64]:
    """Cumulated sizes with a leading 0."""
    return np.cumsum([0, *sizes], dtype=np.int64)


def concatenate(parts: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    """Join int arrays, of which there may be none."""
    return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, dtype=np.int64)


def n_shared_layers(sources: Table, target: Table) -> NDArray[np.int64]:
    """Count the layers that a target has in common with each source, whatever their order and grouping.

    Parameters
    ----------
    sources : Table
    target : Table
        Of one architecture.

    Returns
    -------
    ndarray of shape (n_sources,), int64
    """
    _, layers, counts = target.layer_counts
    at_most = np.zeros(len(sources.layer_kind), dtype=np.int64)
    for key, own in target.layer_rows.items():
        if key in sources.layer_rows:
            at_most[sources.layer_rows[key]] = counts[np.isin(layers, own)].sum()
    rows, layers, counts = sources.layer_counts
    return np.bincount(rows, weights=np.minimum(counts, at_most[layers]), minlength=len(sources)).astype(np.int64)


@remembered
def table_of(architecture: Architecture) -> Table:
    """Tabulate one architecture."""
    return tabulate([architecture], form=architecture.form)


def tabulate(architectures: Sequence[Architecture], *, form: Form) -> Table:
    """Give the distinct layers and items of some architectures their numbers.

    Parameters
    ----------
    architectures : sequence of Architecture
        All in `form`.
    form : {'paper', 'dpiat'}

    Returns
    -------
    Table
    """
    layer_rows: dict[tuple[int, tuple[float, ...]], int] = {}
    item_rows: dict[tuple[bool, tuple[int, ...]], int] = {}

    def layer_row(layer: Layer) -> int:
        return layer_rows.setdefault(_key(layer.kind, layer.dims), len(layer_rows))

    def item_row(item: Item) -> int:
        return item_rows.setdefault(
            (not isinstance(item, Block), tuple(map(layer_row, item.layers))), len(item_rows)
        )

    rows = [[item_row(item) for item in architecture.items] for architecture in architectures]
    return Table(
        form=form,
        layer_kind=np.array([code for code, _ in layer_rows], dtype=np.int64),
        layer_dims=np.array([dims for _, dims in layer_rows], dtype=np.float64).reshape(-1, MAX_DIMS),
        item_start=offsets(len(layers) for _, layers in item_rows),
        item_layer=np.array([i for _, layers in item_rows for i in layers], dtype=np.int64),
        item_single=np.array([single for single, _ in item_rows], dtype=np.bool_),
        start=offsets(map(len, rows)),
        item=np.array([i for row in rows for i in row], dtype=np.int64),
    )


@lru_cache(maxsize=2**15)
def _key(kind: str, dims: tuple[int, ...] | None) -> tuple[int, tuple[float, ...]]:
    """Return what layers share that score alike."""
    code = kind_code(kind, dims)
    return code, padded(kind, dims if code >= 0 else None)
