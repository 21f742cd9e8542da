"""Alignment of networks of different width: stage with stage, whatever their channels.

Shapes alone pair the stage of 48 channels of a narrow network with the stage of 48 of a wide one, though that
is one stage earlier. So the widths of the source are divided by a common ratio first, and the ratio that lets most
be matched decides which layer feeds which. The similarity stays that of the true shapes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from transfer.alignment.matching import Alignment, match
from transfer.structure.meaning import head_layers, is_weighted, out_width
from transfer.structure.records import Architecture, Block, Item, Layer, Tensor

__all__ = ["at_common_scale"]

_N_POSITIONS = 9
"""Relative depths at which widths are compared."""

_GAIN = 1.02
"""A ratio other than 1 has to let that much more be matched."""

_LEAST = 0.5
"""Similarity at the common scale below which networks are too unlike for their widths to correspond."""

_FIXED = 4
"""Dimensions up to this are colours of an image, or groups, and the same whatever the width."""


def at_common_scale(alignment: Alignment) -> Alignment:
    """Align two networks again with the widths of the source divided by a common ratio.

    Parameters
    ----------
    alignment : Alignment
        The best-scoring one of the true shapes.

    Returns
    -------
    Alignment
        With the same value, and the pairs of the ratio that lets most be matched; the same one where that is 1.
    """
    source, target = alignment.source, alignment.target
    best, value = alignment, alignment.value * _GAIN
    for ratio in _ratios(source, target):
        scaled = match(_scaled(source, ratio), target)
        if scaled.value > value and scaled.similarity > _LEAST:
            best, value = scaled, scaled.value
    if best is alignment:
        return alignment
    original = {
        id(layer): own
        for item, given in zip(best.source.items, source.items, strict=True)
        for layer, own in zip(item.layers, given.layers, strict=True)
    }
    pairs = tuple(replace(pair, source=original[id(pair.source)]) for pair in best.pairs)
    return replace(alignment, pairs=pairs)


def _ratios(source: Architecture, target: Architecture) -> Iterator[float]:
    """Yield ratios of the widths at equal relative depth: the middle one, the first and the last."""
    profiles = [_profile(architecture) for architecture in (source, target)]
    if not all(len(profile) for profile in profiles):
        return
    places = np.linspace(0, 1, _N_POSITIONS)
    own, other = (profile[np.round(places * (len(profile) - 1)).astype(int)] for profile in profiles)
    ratios = np.sort(own / other)
    candidates = (float(ratios[len(ratios) // 2]), float(own[0] / other[0]), float(own[-1] / other[-1]))
    yield from (ratio for ratio in dict.fromkeys(candidates) if ratio != 1)


def _profile(architecture: Architecture) -> NDArray[np.float64]:
    """Widths of what the blocks return, in order; of the layers where there are no blocks."""
    body = architecture.items[: len(architecture.items) - len(head_layers(architecture))]
    widths = []
    for item in [item for item in body if isinstance(item, Block)] or body:
        last = [layer for layer in item.layers if is_weighted(layer)][-2:]  # one of them may be the shortcut
        if last:
            widths.append(min(map(out_width, last)))
    return np.array(widths, dtype=np.float64)


def _scaled(architecture: Architecture, ratio: float) -> Architecture:
    first_head = len(architecture.items) - len(head_layers(architecture))
    items: list[Item] = []
    for i, item in enumerate(architecture.items):
        if isinstance(item, Block):
            items.append(Block(tuple(_scaled_layer(layer, ratio) for layer in item.layers)))
        else:
            items.append(_scaled_layer(item, ratio, is_head=i >= first_head))
    return Architecture(architecture.form, tuple(items))


def _scaled_layer(layer: Layer, ratio: float, *, is_head: bool = False) -> Layer:
    """Divide the channels of a layer, but for classes; always a new one."""
    first = 1 if is_head else 0

    def scale(tensor: Tensor) -> Tensor:
        shape = [
            max(1, round(size / ratio)) if first <= axis <= 1 and size > _FIXED else size
            for axis, size in enumerate(tensor.shape)
        ]
        return replace(tensor, shape=tuple(shape))

    return replace(layer, tensors=tuple(map(scale, layer.tensors)))
