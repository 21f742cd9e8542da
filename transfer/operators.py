"""Which parts of a source tensor go to which parts of a target tensor.

The boxes that are copied are as large as both tensors allow; what differs is where they lie, and whether target
elements around them are set to zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

from transfer.regions import Box, Constant, Fill, Region, Span, Transform, swapped
from transfer.structure.records import Layer, Tensor

__all__ = ["LEADING", "Channels", "centred_fill", "channel_fill", "fitted_shape", "refusal", "whole"]


def centred_fill(source: Tensor, target: Tensor) -> Fill:
    """Centre every dimension, as published: crop a larger source in the middle, paste a smaller one there.

    Parameters
    ----------
    source, target : Tensor
        With equally many dimensions.
    """
    if source.shape == target.shape:
        return whole(target.shape)
    spans = [_centred(a, b) for a, b in zip(source.shape, target.shape, strict=True)]
    return Fill("centre", (_region(spans),))


@dataclass(frozen=True, slots=True)
class Channels:
    """Which channels of a source layer go to which channels of a target layer.

    Parameters
    ----------
    outputs, inputs : tuple of Span or None
        Start in the source, start in the target, length; None for the leading ones.
    connections : tuple of (Span, Span) or None
        Of outputs and of inputs, where not every output reads every input.
    scales : tuple of float or None
        Factor on each span of outputs.
    cleared : tuple of (int, int)
        Start and length of other outputs that start at zero.
    transform : Transform or None
        What is done to the weight first; `inputs` then are those of its result.
    n_inputs : int
        Inputs of the transform's result.
    operator : str
        What to call it.
    """

    outputs: tuple[Span, ...] | None = None
    inputs: tuple[Span, ...] | None = None
    connections: tuple[tuple[Span, Span], ...] | None = None
    scales: tuple[float, ...] | None = None
    cleared: tuple[tuple[int, int], ...] = ()
    transform: Transform | None = None
    n_inputs: int = 0
    operator: str = "leading"


LEADING = Channels()


def channel_fill(
    source: Tensor, target: Tensor, layer: Layer, channels: Channels = LEADING, *, zero_new_inputs: bool = True
) -> Fill:
    """Take chosen channels, by default the leading ones, and centre the kernel.

    With leading channels coupled layers keep the same channels without being traced: a producer's outputs, its
    norm, its residual partners and its consumers' inputs are all cropped alike.

    Parameters
    ----------
    source, target : Tensor
        With equally many dimensions, but for trailing ones of size 1.
    layer : Layer
        The target's layer.
    channels : Channels
    zero_new_inputs : bool
        Clear the weights from new inputs, or new kernel positions, into the outputs that are filled.
    """
    is_weight = target.role == "weight" and layer.kind.startswith(("conv", "linear"))
    if is_weight and layer.is_transposed:
        is_cleared = zero_new_inputs and layer.n_groups == 1  # new groups give nothing to old outputs
        exchanged = swapped(source.shape), swapped(target.shape)
        fill = _filled(*exchanged, channels, is_weight=True, zero_new_inputs=is_cleared)
        return fill.exchanged() if fill.operator != "copy" else whole(target.shape)
    return _filled(source.shape, target.shape, channels, is_weight=is_weight, zero_new_inputs=zero_new_inputs)


@lru_cache(maxsize=4096)
def _filled(
    source: tuple[int, ...], target: tuple[int, ...], channels: Channels, *, is_weight: bool, zero_new_inputs: bool
) -> Fill:
    """Fill a tensor by shapes alone: networks repeat them, and an index asks for many plans."""
    shape = fitted_shape(source, len(target))
    assert shape is not None
    is_chosen = channels.outputs or channels.cleared or (is_weight and (channels.inputs or channels.connections))
    if not shape or (shape == target and not is_chosen):
        return whole(target)
    if not _is_possible(channels, shape, target, is_weight=is_weight):
        channels = LEADING
    outputs = channels.outputs or _leading(shape[0], target[0])
    if is_weight:
        inputs = channels.inputs or _leading(shape[1], target[1])
        pairs = channels.connections or tuple(product(outputs, inputs))
        kernel = [_centred(a, b) for a, b in zip(shape[2:], target[2:], strict=True)]
        regions = tuple(_region([*pair, *kernel]) for pair in pairs)
    else:
        rest = [_leading(a, b)[0] for a, b in zip(shape[1:], target[1:], strict=True)]
        regions = tuple(_region([span, *rest]) for span in outputs)
    if channels.scales:
        factors = dict(zip(outputs, channels.scales, strict=True))
        regions = tuple(replace(r, scale=factors[r.source_start[0], r.target_start[0], r.size[0]]) for r in regions)
    constants = tuple(
        Constant(Box((start, *(0,) * (len(target) - 1)), (size, *target[1:]))) for start, size in channels.cleared
    )
    if zero_new_inputs and is_weight:
        zeros = (0,) * (len(target) - 1)
        rows = [Box((start, *zeros), (size, *target[1:])) for _, start, size in outputs]
        if sum(row.n_elements for row in rows) > sum(region.n_elements for region in regions):
            constants = (*(Constant(row) for row in rows), *constants)
    return Fill(channels.operator, regions, constants)


def _is_possible(channels: Channels, source: tuple[int, ...], target: tuple[int, ...], *, is_weight: bool) -> bool:
    """Whether the chosen channels exist: what shapes seem to say of a layer need not hold for all its tensors."""
    choices = [(0, channels.outputs or ())]
    if is_weight:
        choices += [(1, channels.inputs or ()), (1, tuple(span for _, span in channels.connections or ()))]
    return all(
        start + size <= source[dim] and new_start + size <= target[dim]
        for dim, spans in choices
        for start, new_start, size in spans
    )


def refusal(source: Tensor | None, target: Tensor) -> str:
    """Why a target tensor cannot be filled from a source tensor; empty if it can.

    Parameters
    ----------
    source : Tensor or None
        The tensor of the same role in the matched source layer, if there is one.
    target : Tensor

    Returns
    -------
    str
    """
    if source is None:
        return f"the matched source layer has no {target.role}"
    if source.shape != target.shape and fitted_shape(source.shape, len(target.shape)) is None:
        return f"{len(source.shape)} dimensions in the source, {len(target.shape)} in the target"
    if source.dtype and target.dtype and source.is_continuous != target.is_continuous:
        return f"{source.dtype} values in the source, {target.dtype} in the target"
    if source.shape != target.shape:
        if not (source.is_continuous and target.is_continuous):
            return f"{target.dtype or source.dtype} values are copied only between equal shapes"
        if 0 in source.shape:
            return "the source tensor is empty"
    return ""


def fitted_shape(shape: tuple[int, ...], n_dims: int) -> tuple[int, ...] | None:
    """Add or drop trailing dimensions of size 1 to get `n_dims`; None if others would have to go.

    A kernel of more than one position has first dimensions that others lack; those are no matter of this.
    """
    is_kernel = len(shape) != n_dims and n_dims > 2 and any(n != 1 for n in shape[2:])
    if is_kernel or any(n != 1 for n in shape[n_dims:]) or (n_dims > len(shape) and len(shape) < 2):
        return None
    return (*shape[:n_dims], *(1,) * (n_dims - len(shape)))


@lru_cache(maxsize=4096)
def whole(shape: tuple[int, ...]) -> Fill:
    """Copy all of a tensor."""
    zeros = (0,) * len(shape)
    return Fill("copy", (Region(zeros, zeros, shape),))


def _centred(a: int, b: int) -> Span:
    return max(a - b, 0) // 2, max(b - a, 0) // 2, min(a, b)


def _leading(a: int, b: int) -> tuple[Span, ...]:
    return ((0, 0, min(a, b)),)


def _region(spans: Sequence[Span]) -> Region:
    if not spans:
        return Region((), (), ())
    starts, targets, sizes = zip(*spans, strict=True)
    return Region(tuple(starts), tuple(targets), tuple(sizes))
