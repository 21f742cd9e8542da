"""Which norm stands behind a layer, and which before it.

Read from the order of the layers: a norm belongs to the convolution or linear layer right before it if it is as
wide as what that gives. Both lie in one block, or both outside of blocks; between blocks something may be added.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby, pairwise

from transfer.structure.layers import dims_of, in_width, is_weighted, out_width
from transfer.structure.records import Architecture, Block, Layer, remembered

__all__ = ["NORMS", "norms_after", "norms_before"]

NORMS = ("batchnorm", "norm")
"""Kinds of layers that have a scale for each channel: with running statistics, and without."""


@remembered
def norms_after(architecture: Architecture) -> dict[str, Layer]:
    """Find the norm right behind each layer that has one.

    Parameters
    ----------
    architecture : Architecture
        In ``dpiat`` form with tensor names.

    Returns
    -------
    dict of str to Layer
        By path of the convolution or linear layer.
    """
    return {
        layer.path: norm
        for layer, norm in _neighbours(architecture)
        if is_weighted(layer) and norm.kind in NORMS and dims_of(norm)[0] in _widths(layer)
    }


@remembered
def norms_before(architecture: Architecture) -> dict[str, Layer]:
    """Find the norm right before each layer that has one and reads as many channels.

    Parameters
    ----------
    architecture : Architecture
        In ``dpiat`` form with tensor names.

    Returns
    -------
    dict of str to Layer
        By path of the convolution or linear layer.
    """
    return {
        layer.path: norm
        for norm, layer in _neighbours(architecture)
        if is_weighted(layer)
        and norm.kind in NORMS
        and dims_of(norm)[0] in (in_width(layer), in_width(layer) * max(layer.n_groups, 1))
    }


def _neighbours(architecture: Architecture) -> Iterator[tuple[Layer, Layer]]:
    """Yield the layers that follow each other inside blocks, and those outside of blocks."""
    for is_block, items in groupby(architecture.items, key=lambda item: isinstance(item, Block)):
        stretches = [item.layers for item in items]
        if not is_block:
            stretches = [tuple(layer for stretch in stretches for layer in stretch)]
        for stretch in stretches:
            yield from pairwise(layer for layer in stretch if layer.dims is not None)


def _widths(layer: Layer) -> tuple[int, ...]:
    """Count the channels that a layer gives; a header does not tell a transposed convolution from another."""
    unsure = layer.kind.startswith("conv") and not layer.n_groups
    return (out_width(layer), dims_of(layer)[1]) if unsure else (out_width(layer),)
