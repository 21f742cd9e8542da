"""Layers that read the image: which they are, and which of them cut it into patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import gcd

from transfer.operators import Channels
from transfer.structure.records import Architecture, Layer

__all__ = [
    "input_channels",
    "input_layers",
    "is_patch_kernel",
    "kept_channels",
    "pixels_beside",
    "read_the_image",
]

_PIXELS = (16, 4)
"""Pixels that space to depth makes one of, as in TResNet (https://arxiv.org/abs/2003.13630)."""

_MANY = 4
"""A layer of more inputs than this reads the image only if nothing comes before it."""


def input_channels(architecture: Architecture) -> int | None:
    """Count the channels of the image: the inputs of the first convolution; None if no convolution reads it.

    A first convolution of one input and hardly any outputs is taken for a depthwise one; its weight does not tell.
    """
    after_linear = False
    for layer in architecture.layers():
        if _is_convolution(layer):
            n_outputs, n = _widths(layer)
            if (n == 1 and n_outputs <= _MANY) or (after_linear and n > _MANY):
                return None
            return n
        after_linear = after_linear or layer.kind == "linear"
    return None


def input_layers(architecture: Architecture) -> list[Layer]:
    """List the convolutions that read the image.

    The first convolution does. So does a later one of equally many inputs (networks of several branches or scales),
    unless that number is one (depthwise), the layer before has so many outputs (an ordinary layer), or as many as
    this one (a grouped convolution).
    """
    n = input_channels(architecture)
    found: list[Layer] = []
    before: Layer | None = None
    for layer in architecture.layers():
        if n is None or not layer.kind.startswith(("conv", "linear")) or len(layer.dims or ()) < 2:
            continue
        if _is_convolution(layer) and _widths(layer)[1] == n and (not found or _branches_off(layer, before, found)):
            found.append(layer)
        before = layer
    return found


def read_the_image(source: Layer, target: Layer, architectures: tuple[Architecture, Architecture]) -> bool:
    """Whether both layers of a matched pair read their image.

    Parameters
    ----------
    source, target : Layer
    architectures : tuple of Architecture
        The source's and the target's.

    Notes
    -----
    The inputs of both must be the channels of the image, and one of the two must be known as an input layer: of a
    network for grey images, whose depthwise layers have one input as well, only the first layer is.
    """
    for layer, architecture in zip((source, target), architectures, strict=True):
        if not _is_convolution(layer) or _widths(layer)[1] != input_channels(architecture):
            return False
    return source in input_layers(architectures[0]) or target in input_layers(architectures[1])


def kept_channels(
    source: Layer, target: Layer, architectures: tuple[Architecture, Architecture], channels: Channels
) -> Channels | None:
    """Let each channel of the image stay what it was, so that those that only the target has count for nothing.

    Parameters
    ----------
    source, target : Layer
    architectures : tuple of Architecture
        The source's and the target's.
    channels : Channels
        Chosen for the layer; its outputs stay.

    Returns
    -------
    Channels or None
        None unless both layers read their image, of other numbers of channels.
    """
    if source.dims is None or target.dims is None or source.dims[1:2] == target.dims[1:2]:
        return None
    if channels.connections is not None or not read_the_image(source, target, architectures):
        return None
    n_old, n_new = source.dims[1], target.dims[1]
    n_pixels = pixels_beside(n_old, n_new)
    old, new = n_old // n_pixels, n_new // n_pixels
    inputs = tuple((i * old, i * new, min(old, new)) for i in range(n_pixels))
    return replace(channels, inputs=inputs, operator="keep image channels")


def pixels_beside(a: int, b: int) -> int:
    """Count the pixels that stand side by side in the channels: a number that divides both, one side being RGB."""
    return next((n for n in _PIXELS if gcd(a, b) % n == 0 and 3 * n in (a, b) and max(a, b) <= 4 * n), 1)


def is_patch_kernel(size: Sequence[int], stride: Sequence[int] | None = None) -> bool:
    """Whether a kernel of an input layer covers disjoint patches of the image, so that resizing suits it.

    Parameters
    ----------
    size : sequence of int
        Height and width of the kernel.
    stride : sequence of int, optional
        If it is known, patches are kernels as large as their stride.

    Notes
    -----
    Without the stride: the sides are even (2, 4, 14, 16, 32: an overlapping kernel has a middle), or at least 8.
    """
    if len(size) != 2 or min(size) < 2:
        return False
    if stride is not None:
        return tuple(size) == tuple(stride)
    return all(n % 2 == 0 for n in size) or min(size) >= 8


def _branches_off(layer: Layer, before: Layer | None, found: list[Layer]) -> bool:
    n_outputs, n = _widths(layer)
    if n == 1 or n > _MANY or before is None:
        return False
    n_before = _widths(before)[0]
    is_dense = layer.n_groups == 1  # a module tells; else it might be grouped
    return n_before != n and (is_dense or n_before != n_outputs or before in found)


def _is_convolution(layer: Layer) -> bool:
    return layer.kind in ("conv1d", "conv2d", "conv3d") and layer.dims is not None and 0 not in layer.dims


def _widths(layer: Layer) -> tuple[int, int]:
    """Return outputs, and inputs per group, of a weighted layer."""
    assert layer.dims is not None
    return layer.dims[0], layer.dims[1]
