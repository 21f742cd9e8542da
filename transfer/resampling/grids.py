"""Tensors that hold one vector per place of a grid: position embeddings and relative-position tables.

Where the places, the channels and the class tokens of such a tensor are is read from its shape, its role (the last
component of its name) and the other tensors of the architecture. Forms that are told apart:

================  =======================================================  ====================================
purpose           shapes                                                   of
================  =======================================================  ====================================
``position``      (1, P + HW, C), (P + HW, C), (1, H, W, C), (1, C, H, W)  an embedding of every place; P tokens
``position``      (1, T, N, C): T square blocks of N places                the same, cut into blocks (NesT)
``table``         ((2H-1)(2W-1) + 0 or 3, heads), (heads, 2H-1, 2W-1)      a bias of every offset of two places
``axis``          (2L-1, C)                                                an embedding of every offset, one axis
``offset``        (heads, HW)                                              a bias of every absolute offset (LeViT)
================  =======================================================  ====================================
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import isqrt, prod
from typing import Literal

from transfer.structure.records import Architecture, Tensor

__all__ = ["Grid", "Purpose", "Size", "find_grid"]

Purpose = Literal["position", "table", "axis", "offset"]

Size = tuple[int, int]
"""Height and width."""

_CLASS_BIASES = ("class to place", "place to class", "class to class")
"""The last three rows of a bias table of a network with a class token (BEiT, https://arxiv.org/abs/2106.08254)."""

_UNNAMED = ("class 0", "distillation 0")
"""What tokens are taken for if no layer of the architecture accounts for them; at most these two."""

_MAX_TOKEN_LAYERS = 6


@dataclass(frozen=True, slots=True)
class Grid:
    """How a tensor lays out the places of a grid.

    Parameters
    ----------
    shape : tuple of int
        Of the tensor.
    size : tuple of int
        Height and width of the grid.
    axes : tuple of int
        One axis that holds tokens and places one after another, or one axis for rows and one for columns (for
        blocks: one for blocks and one for places in a block). All other axes but the channels' have length one.
    channel_axis : int
    purpose : {'position', 'table', 'axis', 'offset'}
    before, after : tuple of str
        What stands on the single axis before and after the places: class tokens, registers.
    blocks : bool
        The places are cut into square blocks.
    """

    shape: tuple[int, ...]
    size: Size
    axes: tuple[int, ...]
    channel_axis: int
    purpose: Purpose
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    blocks: bool = False

    @property
    def n_places(self) -> int:
        """Number of places."""
        return prod(self.size)

    @property
    def n_channels(self) -> int:
        """Number of channels."""
        return self.shape[self.channel_axis]


def find_grid(tensor: Tensor, architecture: Architecture, size: Size | None = None) -> Grid | None:
    """Tell how a tensor lays out a grid.

    Parameters
    ----------
    tensor : Tensor
    architecture : Architecture
        The one that the tensor belongs to.
    size : tuple of int, optional
        Height and width of the grid of places (of the window, for tables and offsets) where the caller knows it;
        else, or if it does not fit, flattened grids are taken for square ones.

    Returns
    -------
    Grid or None
        None if it is no such tensor, or its grid cannot be told.
    """
    shape = tensor.shape
    if not tensor.is_continuous or min(shape, default=0) < 1 or not 2 <= len(shape) <= 4:
        return None
    words = re.findall("[a-z]+", tensor.role.lower())
    if any(word.startswith(("ind", "idx", "mask", "query")) for word in words):
        return None
    has_bias = any(word.startswith(("bias", "table")) for word in words)
    if has_bias and any(word.startswith(("attention", "attn")) for word in words):
        return _offset_grid(shape, size)
    if any(word.startswith("rel") for word in words):
        return _table_grid(shape, size) if has_bias else _axis_grid(shape)
    if not any(re.match("pos(?![st])|pe$", word) for word in words):
        return None
    if len(shape) == 2 or (len(shape) == 3 and 1 in shape[:2]):
        return _token_grid(tensor, architecture, size)
    return _plane_grid(shape, architecture, size)


def _token_grid(tensor: Tensor, architecture: Architecture, size: Size | None) -> Grid | None:
    """Lay out (1, N, C), (N, C) or (N, 1, C).

    Networks without any convolution read no image, so that their positions are taken for a sequence, not a grid.
    """
    shape = tensor.shape
    if not any(layer.kind.startswith("conv") for layer in architecture.layers()):
        return None
    axis = 0 if len(shape) == 2 or shape[0] != 1 else 1
    n = shape[axis]
    known = list(_known_tokens(architecture, shape[-1]))
    if size is not None and 0 <= n - prod(size) <= max(len(_UNNAMED), sum(map(len, known))):
        found = [(size, n - prod(size))]
    else:
        sums = {sum(map(len, tokens)) for k in range(len(known) + 1) for tokens in combinations(known, k)}
        counts = sorted(sums) + sorted(set(range(len(_UNNAMED) + 1)) - sums)
        found = [((side, side), p) for p in counts if (side := _root(n - p))]
    for found_size, p in found:
        before = _choose(known, p)
        if before is not None:
            return Grid(shape, found_size, (axis,), len(shape) - 1, "position", before)
    return None


def _known_tokens(architecture: Architecture, width: int) -> Iterator[tuple[str, ...]]:
    """Yield what the tokens are called, for every token layer of a width, in order of registration."""
    n_layers = 0
    counts: dict[str, int] = {}
    for layer in architecture.layers():
        if not layer.kind.startswith("parameter:") or len(layer.tensors) != 1:
            continue
        (tensor,) = layer.tensors
        kind = _token_kind(tensor.role.lower())
        if not kind or not tensor.shape or tensor.shape[-1] != width or len(tensor.shape) > 3:
            continue
        start, n = counts.get(kind, 0), prod(tensor.shape[:-1])
        n_layers += 1
        if n_layers > _MAX_TOKEN_LAYERS:
            return
        counts[kind] = start + n
        yield tuple(f"{kind} {i}" for i in range(start, start + min(n, 64)))


def _token_kind(role: str) -> str:
    if re.search("mask|latent|query|pos", role):
        return ""
    for kind, pattern in (("class", "cls|class"), ("distillation", "dist"), ("register", "reg|tok")):
        if re.search(pattern, role):
            return kind
    return ""


def _choose(known: list[tuple[str, ...]], n: int) -> tuple[str, ...] | None:
    """Name n tokens: by the first set of token layers that makes n, else by what is usual."""
    for k in range(len(known) + 1):
        for tokens in combinations(known, k):
            if sum(map(len, tokens)) == n:
                return sum(tokens, ())
    return _UNNAMED[:n] if n <= len(_UNNAMED) else None


def _plane_grid(shape: tuple[int, ...], architecture: Architecture, size: Size | None) -> Grid | None:
    """Lay out (1, H, W, C), (1, C, H, W), (H, W, C), (C, H, W) or blocks (1, T, N, C).

    The two axes of equal length are the grid; if that does not tell, the channels are the number that is a width
    of the architecture. Tables of two rows, one per coordinate, are no grid (Gemma 4).
    """
    if len(shape) == 4 and shape[0] != 1:
        return None
    first = len(shape) - 3
    a, b, c = shape[first:]
    side, inner = _root(a), _root(b)
    if len(shape) == 4 and side and inner and a != b and b != c and side & (side - 1) == 0:
        return Grid(shape, (side * inner, side * inner), (1, 2), 3, "position", blocks=True)
    is_last, is_first = (a, b) == size, (b, c) == size
    if is_last == is_first:
        is_last, is_first = a == b, b == c
    if is_last == is_first and len(shape) == 4:
        widths = {t.shape[0] for t in architecture.tensors() if t.role in ("weight", "bias") and t.shape}
        is_last, is_first = c in widths, a in widths
    if is_last == is_first:
        return None
    if is_last:
        return Grid(shape, (a, b), (first, first + 1), first + 2, "position")
    return Grid(shape, (b, c), (first + 1, first + 2), first, "position")


def _table_grid(shape: tuple[int, ...], size: Size | None) -> Grid | None:
    """Lay out ((2H-1)(2W-1), heads), perhaps with three rows more, or (heads, 2H-1, 2W-1)."""
    if len(shape) == 3:
        _, h, w = shape
        return Grid(shape, (h, w), (1, 2), 0, "table") if h % 2 and w % 2 else None
    if len(shape) != 2:
        return None
    for after in ((), _CLASS_BIASES):
        n = shape[0] - len(after)
        if size is not None and n == (2 * size[0] - 1) * (2 * size[1] - 1):
            return Grid(shape, (2 * size[0] - 1, 2 * size[1] - 1), (0,), 1, "table", after=after)
    for after in ((), _CLASS_BIASES):
        side = _root(shape[0] - len(after))
        if side % 2:  # the square of an odd number plus 3 is never such a square
            return Grid(shape, (side, side), (0,), 1, "table", after=after)
    return None


def _axis_grid(shape: tuple[int, ...]) -> Grid | None:
    return Grid(shape, (shape[0], 1), (0,), 1, "axis") if len(shape) == 2 else None


def _offset_grid(shape: tuple[int, ...], size: Size | None) -> Grid | None:
    if len(shape) != 2:
        return None
    side = _root(shape[1])
    if size is None or prod(size) != shape[1]:
        size = (side, side)
    return Grid(shape, size, (1,), 0, "offset") if prod(size) else None


def _root(n: int) -> int:
    """Exact square root, 0 if there is none."""
    root = isqrt(max(n, 0))
    return root if root * root == n else 0
