"""Kernels of other dimensions: images to videos and volumes, to signals, and back.

A kernel that lacks dimensions is spread over them, one that has too many is summed over them, so that what does not
change along these gives, away from the ends, what it gave: a still video what the picture gave (I3D,
https://arxiv.org/abs/1705.07750). The last dimensions correspond: time is the first of three, height the first of
two.

A transposed convolution writes with stride s, so that a place along the new dimension reads every s-th position of
the kernel; each such set of positions gets the whole of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from transfer.regions import Transform
from transfer.structure.records import Layer

if TYPE_CHECKING:
    import torch

__all__ = ["SpreadKernel", "SumKernel", "changes_dimensions_only", "dimension_change"]

_KERNELS = ("conv1d", "conv2d", "conv3d")

_NAMES = {(2, 3): "time", (1, 2): "height", (1, 3): "time and height"}
"""Of the dimensions that kernels of fewer dimensions lack."""

_USUAL_STRIDE = 2
"""Of transposed convolutions, where it is not known."""


@dataclass(frozen=True, slots=True)
class SpreadKernel:
    """Repeat a kernel along new dimensions, which come before its own.

    Parameters
    ----------
    size : tuple of int
        Of the kernel along them.
    stride : tuple of int
        With which one result of the layer reads the kernel: 1, or that of a transposed convolution.
    """

    size: tuple[int, ...]
    stride: tuple[int, ...]

    def __call__(self, value: torch.Tensor) -> torch.Tensor:
        """Return (outputs, inputs, new dimensions, ...) of a kernel (outputs, inputs, ...)."""
        import torch

        for size, stride in zip(reversed(self.size), reversed(self.stride), strict=True):
            wide, places = value.double(), []
            for k in range(size):
                n = len(range(k % stride, size, stride))
                part = (wide / n).to(value.dtype)
                # the last one gets what rounding left, so that they add up to the kernel
                places.append((wide - (n - 1) * part.double()).to(value.dtype) if k + stride >= size else part)
            value = torch.stack(places, 2)
        return value


@dataclass(frozen=True, slots=True)
class SumKernel:
    """Add up a kernel along its first dimensions.

    Parameters
    ----------
    stride : tuple of int
        Of the dimensions that go, as in `SpreadKernel`.
    """

    stride: tuple[int, ...]

    def __call__(self, value: torch.Tensor) -> torch.Tensor:
        """Return (outputs, inputs, ...) of a kernel (outputs, inputs, dimensions that go, ...)."""
        import torch

        total = value.to(torch.float64)
        for stride in self.stride:
            total = total.sum(2) / min(stride, total.shape[2])
        return total.to(value.dtype)


def dimension_change(
    source: tuple[int, ...], target: tuple[int, ...], source_layer: Layer, target_layer: Layer
) -> tuple[Transform, tuple[int, ...], str] | None:
    """Tell how a kernel of one number of dimensions becomes one of another.

    Parameters
    ----------
    source, target : tuple of int
        Shapes of the weights of two convolutions.
    source_layer, target_layer : Layer

    Returns
    -------
    transform : Transform
    shape : tuple of int
        Of its result: the target's along the new dimensions, otherwise the source's.
    operator : str
        What is done, in words; empty if nothing but the shape changes.
        None for all three where the dimensions are as many, or one layer is no convolution.
    """
    n_source, n_target = len(source) - 2, len(target) - 2
    if n_source == n_target or not {source_layer.kind, target_layer.kind} <= set(_KERNELS):
        return None
    name = _NAMES[min(n_source, n_target), max(n_source, n_target)]
    n = abs(n_target - n_source)
    is_transposed = source_layer.is_transposed or target_layer.is_transposed
    if n_target > n_source:
        size = target[2 : 2 + n]
        stride = _strides(target_layer, size) if is_transposed else (1,) * n
        return (
            SpreadKernel(size, stride),
            (*source[:2], *size, *source[2:]),
            _unless_flat(f"inflate over {name}", size),
        )
    size = source[2 : 2 + n]
    stride = _strides(source_layer, size) if is_transposed else (1,) * n
    return SumKernel(stride), (*source[:2], *source[2 + n :]), _unless_flat(f"sum over {name}", size)


def changes_dimensions_only(transform: Transform | None) -> bool:
    """Whether a transform leaves the channels as they are, in number and order."""
    return isinstance(transform, SpreadKernel | SumKernel)


def _strides(layer: Layer, size: tuple[int, ...]) -> tuple[int, ...]:
    known = layer.stride[: len(size)] if len(layer.stride) == len(layer.dims or ()) - 2 else ()
    return known or tuple(min(_USUAL_STRIDE, n) for n in size)


def _unless_flat(operator: str, size: tuple[int, ...]) -> str:
    return operator if any(n > 1 for n in size) else ""
