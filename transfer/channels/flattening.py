"""Linear layers behind flattened feature maps: which inputs are of one channel, and which of one place.

A map of C channels and P places becomes C * P inputs, either channel by channel, all places of each (as torch
flattens its maps), or place by place, all channels of each (where dimensions were exchanged before). The run tells
which (`bundles`); without one it is the former. If source and target have equally many places, channels find their
own and nothing has to be computed. If not, the weights of a place of the source are shared among the places of the
target that cover it, in proportion to the area; that is exact where the map is constant within the larger places,
and so for a map that was pooled before and is not pooled now.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING

from transfer.operators import Channels
from transfer.structure.layers import dims_of, in_width, is_spatial, is_weighted, out_width
from transfer.structure.records import remembered

if TYPE_CHECKING:
    import torch

    from transfer.alignment.matching import Alignment
    from transfer.structure.records import Architecture, Layer

__all__ = ["LEADING_BY_PLACE", "MovePlaces", "flattened_channels", "grids", "widths_before"]

LEADING_BY_PLACE = "leading by place"
"""Operator of a layer that reads a flattened map."""

Grid = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MovePlaces:
    """Bring the weight of a linear layer from one flattened grid to another.

    Parameters
    ----------
    n_channels : int
        Of the source.
    source, target : tuple of int
        Grids of as many dimensions.
    by_place : bool
        Whether all channels of a place lie side by side.
    """

    n_channels: int
    source: Grid
    target: Grid
    by_place: bool

    @property
    def n_inputs(self) -> int:
        """Inputs of the result."""
        n = self.n_channels
        for size in self.target:
            n *= size
        return n

    def __call__(self, value: torch.Tensor) -> torch.Tensor:
        """Return the weight, of shape (n_outputs, n_inputs), as a layer has it that reads the other grid."""
        matrix = value.reshape(len(value), -1)
        layout = (*self.source, self.n_channels) if self.by_place else (self.n_channels, *self.source)
        places = matrix.double().reshape(len(value), *layout)
        first = 1 if self.by_place else 2
        for axis, (old, new) in enumerate(zip(self.source, self.target, strict=True), start=first):
            places = (places.movedim(axis, -1) @ _shares(old, new).to(places.device)).movedim(-1, axis)
        return places.reshape(len(value), -1).to(value.dtype)


def _shares(old: int, new: int) -> torch.Tensor:
    """Return what part of each old cell of a line lies in each new cell, of shape (old, new)."""
    import torch

    edges = torch.arange(old + 1, dtype=torch.float64) / old, torch.arange(new + 1, dtype=torch.float64) / new
    start = torch.maximum(edges[0][:-1, None], edges[1][None, :-1])
    end = torch.minimum(edges[0][1:, None], edges[1][None, 1:])
    return (end - start).clamp(min=0) * old


def flattened_channels(alignment: Alignment) -> dict[str, Channels]:
    """Tell from shapes alone what goes where behind flattened maps: linear layers right behind a convolution.

    Parameters
    ----------
    alignment : Alignment

    Returns
    -------
    dict of str to Channels
        By the path of the target layer.
    """
    maps = _map_widths(alignment.source), _map_widths(alignment.target)
    layers = list(alignment.target.layers())
    found = {}
    for pair in alignment.pairs:
        if pair.source.path not in maps[0] or pair.target.path not in maps[1]:
            continue
        widths = maps[0][pair.source.path], maps[1][pair.target.path]
        places = dims_of(pair.source)[1] // widths[0], dims_of(pair.target)[1] // widths[1]
        if places == (1, 1):
            continue
        spans = ((0, 0, min(widths[0], widths[1]) * places[1]),)
        moved = None
        if places[0] != places[1]:
            before = layers[: layers.index(pair.target)]
            moved = MovePlaces(widths[0], *grids(before, *places), by_place=False)
        n_inputs = moved.n_inputs if moved else 0
        found[pair.target.path] = Channels(
            inputs=spans, transform=moved, n_inputs=n_inputs, operator=LEADING_BY_PLACE
        )
    return found


def _map_widths(architecture: Architecture) -> dict[str, int]:
    """Channels of the map that a linear layer reads, by its path, where a square of places was flattened."""
    inputs = {layer.path: in_width(layer) for layer in architecture.layers() if is_weighted(layer)}
    return {
        path: width
        for path, width in widths_before(architecture).items()
        if inputs[path] % width == 0 and isqrt(inputs[path] // width) ** 2 == inputs[path] // width
    }


@remembered
def widths_before(architecture: Architecture) -> dict[str, int]:
    """Channels of the convolution right before each linear layer outside of blocks, by the path of that."""
    found = {}
    before: Layer | None = None
    for item in architecture.items:
        for layer in item.layers:
            if not is_weighted(layer):
                continue
            if before is not None and layer.kind == "linear" and before.kind.startswith("conv") and item is layer:
                found[layer.path] = out_width(before)
            before = layer
    return found


def grids(before: Iterable[Layer], n_source: int, n_target: int) -> tuple[Grid, Grid]:
    """Guess the grids of two flattened maps: squares, if the network works on images and both may be.

    Parameters
    ----------
    before : iterable of Layer
        Of the target, up to the one that reads the map.
    n_source, n_target : int
        Places.
    """
    kernel: tuple[int, ...] = next(
        (
            dims_of(layer)[2:]
            for layer in reversed(list(before))
            if layer.kind.startswith("conv") and is_spatial(layer)
        ),
        (1, 1),
    )
    sides = isqrt(n_source), isqrt(n_target)
    is_plane = len(kernel) == 2 and (max(kernel) == 1 or min(kernel) > 1)
    if is_plane and sides[0] ** 2 == n_source and sides[1] ** 2 == n_target:
        return (sides[0], sides[0]), (sides[1], sides[1])
    return (n_source,), (n_target,)
