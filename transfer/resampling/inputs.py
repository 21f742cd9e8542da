"""Layers that read the image: which they are, and which of them cut it into patches."""

from __future__ import annotations

from collections.abc import Sequence

from transfer.structure.records import Architecture, Layer

__all__ = ["input_channels", "input_layers", "is_patch_kernel", "read_the_image"]

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
    return n_before != n and (n_before != n_outputs or before in found)


def _is_convolution(layer: Layer) -> bool:
    return layer.kind in ("conv1d", "conv2d", "conv3d") and layer.dims is not None and 0 not in layer.dims


def _widths(layer: Layer) -> tuple[int, int]:
    """Return outputs, and inputs per group, of a weighted layer."""
    assert layer.dims is not None
    return layer.dims[0], layer.dims[1]
