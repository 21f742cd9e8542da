"""What is done to a tensor, as plans keep it: boxes that are copied, constants that are set, transforms before.

A region says, dimension by dimension, where a copied box starts in the source and in the target and how long it is.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

__all__ = ["Box", "Constant", "Fill", "Region", "Span", "Transform", "swapped"]


Span = tuple[int, int, int]
"""Start in the source, start in the target, length: one dimension of a region."""


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a tensor.

    Parameters
    ----------
    start, size : tuple of int
        One number per dimension.
    """

    start: tuple[int, ...]
    size: tuple[int, ...]

    @property
    def n_elements(self) -> int:
        """Number of elements in it."""
        return prod(self.size)

    @property
    def index(self) -> tuple[slice, ...]:
        """Index of the box in its tensor."""
        return tuple(slice(a, a + n) for a, n in zip(self.start, self.size, strict=True))


@dataclass(frozen=True, slots=True)
class Constant:
    """A part of a tensor that is set to one value.

    Parameters
    ----------
    box : Box
    value : float
    diagonal : bool
        Set only where the first two indices are equal and the others in the middle: with value 1 a layer that
        returns its input.
    """

    box: Box
    value: float = 0.0
    diagonal: bool = False


class Transform(Protocol):
    """Makes another tensor of a source tensor before regions of it are copied, e.g. resamples it.

    Implementations are frozen dataclasses, so that plans can be compared and printed.
    """

    def __call__(self, value: torch.Tensor) -> torch.Tensor:
        """Return the tensor that regions refer to; `value` stays as it is."""
        ...


@dataclass(frozen=True, slots=True)
class Region:
    """A box of equal size in the source and in the target tensor.

    Parameters
    ----------
    source_start, target_start, size : tuple of int
        One number per dimension.
    tensor : str
        Name of the source tensor where one target tensor is filled from several; else empty.
    scale : float
        Factor on what is copied.
    """

    source_start: tuple[int, ...]
    target_start: tuple[int, ...]
    size: tuple[int, ...]
    tensor: str = ""
    scale: float = 1.0

    @property
    def n_elements(self) -> int:
        """Number of elements that are copied."""
        return prod(self.size)

    @property
    def source(self) -> Box:
        """The box in the source."""
        return Box(self.source_start, self.size)

    @property
    def target(self) -> Box:
        """The box in the target."""
        return Box(self.target_start, self.size)


@dataclass(frozen=True)
class Fill:
    """How one target tensor is filled.

    Parameters
    ----------
    operator : str
        How the regions were chosen.
    regions : tuple of Region
        Copied; their target boxes do not overlap.
    constants : tuple of Constant
        Set in this order, before the regions are copied.
    """

    operator: str
    regions: tuple[Region, ...]
    constants: tuple[Constant, ...] = ()

    @cached_property
    def n_copied(self) -> int:
        """Number of elements that are copied."""
        return sum(region.n_elements for region in self.regions)

    @cached_property
    def n_set(self) -> int:
        """Number of elements that are set to constants, also where they are overwritten then."""
        return sum(constant.box.n_elements for constant in self.constants)

    def exchanged(self) -> Fill:
        """Return the same for tensors with the first two dimensions exchanged."""
        regions = (
            replace(
                r,
                source_start=swapped(r.source_start),
                target_start=swapped(r.target_start),
                size=swapped(r.size),
            )
            for r in self.regions
        )
        constants = (replace(c, box=Box(swapped(c.box.start), swapped(c.box.size))) for c in self.constants)
        return replace(self, regions=tuple(regions), constants=tuple(constants))


def swapped(numbers: tuple[int, ...]) -> tuple[int, ...]:
    """Return shape or start with the first two dimensions exchanged."""
    return (*numbers[1::-1], *numbers[2:])
