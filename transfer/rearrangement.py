"""The same numbers in another shape: with dimensions of size 1 elsewhere, flattened, transposed."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt, prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["Rearrange", "rearrangement", "without_ones"]

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Rearrange:
    """Transform that views a tensor in another shape, permutes it and views the result in a third one.

    Parameters
    ----------
    view : tuple of int
    axes : tuple of int
        Order of the axes of the view.
    shape : tuple of int
        Of the result.
    """

    view: Shape
    axes: Shape
    shape: Shape

    def __call__(self, value: torch.Tensor) -> torch.Tensor:
        """Return the tensor in its new shape."""
        return value.reshape(self.view).permute(self.axes).reshape(self.shape)


def rearrangement(source: Shape, target: Shape, *, is_transposed: bool = False) -> Rearrange | None:
    """Tell how a source tensor has to lie to be like a target tensor.

    Parameters
    ----------
    source, target : tuple of int
        Shapes.
    is_transposed : bool
        One of them is a matrix with its inputs first, the other one has them second.

    Returns
    -------
    Rearrange or None
        Its result has the rank of the target, and its sizes where the two hold equally much; None if the tensor
        lies right already, or nothing is known to do.
    """
    if is_transposed and len(source) == 2:
        shape = (source[1], source[0], *(1,) * (len(target) - 2))
        return Rearrange(source, (1, 0), shape)
    if source == target or (len(source) == len(target) and 1 not in (*source, *target)):
        return None
    kept, wanted = without_ones(source), without_ones(target)
    if len(kept) == len(wanted) and (kept == wanted or len(source) != len(target)):
        sizes = iter(kept)
        return _viewed(source, tuple(next(sizes) if n != 1 else 1 for n in target))
    if prod(source) != prod(target):
        return None
    if source[:1] == target[:1] and 2 in (len(source), len(target)):
        return _viewed(source, target)  # all of a feature map, flattened or not
    return _table(source, target, kept, wanted)


def without_ones(shape: Shape) -> Shape:
    """Leave out dimensions of size 1."""
    return tuple(n for n in shape if n != 1)


def _viewed(source: Shape, target: Shape) -> Rearrange | None:
    n = len(target)
    is_trailing = source[:n] == target[: len(source)] and all(k == 1 for k in (*source[n:], *target[len(source) :]))
    return None if is_trailing and len(source) > 1 else Rearrange(target, tuple(range(n)), target)


def _table(source: Shape, target: Shape, kept: Shape, wanted: Shape) -> Rearrange | None:
    """Values for each place and head, as (places, heads) or (heads, side, side)."""
    if len(kept) == 2 and len(wanted) == 3:
        places, heads = kept
        if wanted == (heads, isqrt(places), isqrt(places)):
            return Rearrange((places, heads), (1, 0), target)
    if len(kept) == 3 and len(wanted) == 2:
        heads, a, b = kept
        if a == b and wanted == (a * b, heads):
            return Rearrange((heads, a * b), (1, 0), target)
    return None
