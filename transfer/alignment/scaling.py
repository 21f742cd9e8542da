"""Networks of different width: compared and aligned stage with stage, whatever their channels.

Shapes alone pair the stage of 48 channels of a narrow network with the stage of 48 of a wide one, though that
is one stage earlier, and find a Mixer of equal width more like a ViT than a wider ViT. So the widths of the source
are divided by a common ratio first. What is alike at a ratio counts less for a larger ratio: a few layers more that
would fit do not outweigh that all others are cropped. The ratio that is best by this decides which layer feeds
which, and the similarity. How much less was measured, and is not sharply determined (docs/quality.md). For the
question which layer feeds which it is less than for the similarity: of two stages, the one at the same depth.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from transfer.alignment.matching import Alignment, compared
from transfer.alignment.tables import Table, table_of
from transfer.structure.layers import is_weighted, out_width
from transfer.structure.meaning import head_layers
from transfer.structure.records import Architecture, Block, remembered

__all__ = ["at_common_scale", "scaled_similarity"]

_N_POSITIONS = 9
"""Relative depths at which widths are compared."""

_LEAST = 0.5
"""Similarity at the common scale below which networks are too unlike for their widths to correspond."""

_EXPONENT = 0.5
"""Of the ratio, where it is the price: 0 to 0.5 pick equally good sources, 0.75 and more take width for kind."""

_PLACING_EXPONENT = 0.25
"""The same for which layer feeds which. In 434 pairs within families 65 % of the layers meet one of their own stage
at 0.5, where a U-Net or a MobileNet of half the width is shifted by one, 74 % at 0.25, and 75 % at 0.1. With less
than 0.03 what fits exactly is cropped for few layers more."""

_FIXED = 4
"""Dimensions up to this are colours of an image, or groups, and the same whatever the width."""


def scaled_similarity(source: Architecture, target: Architecture, plain: float, *, least: float = 0.0) -> float:
    """Similarity at the common scale that suits two networks best; plain in the ``paper`` form.

    Parameters
    ----------
    source, target : Architecture
        In the same form.
    plain : float
        Their similarity at true widths.
    least : float
        What is not above this is not looked for.

    Returns
    -------
    float
        In [0, 1], at least `plain`.
    """
    best = plain
    for ratio in _ratios(source, target):
        if (price := _price(ratio, _EXPONENT)) > max(best, least):
            best = max(best, price * _similarity_at(ratio, source, target))
    return best


def at_common_scale(alignment: Alignment) -> tuple[Alignment, float]:
    """Align two networks again with the widths of the source divided by the common ratio that suits them best.

    Parameters
    ----------
    alignment : Alignment
        The best-scoring one of the true shapes, in ``dpiat`` form.

    Returns
    -------
    alignment : Alignment
        With the pairs found at that ratio; the same one where it is 1.
    similarity : float
        As `scaled_similarity`.
    """
    source, target, plain = alignment.source, alignment.target, alignment.similarity
    found = {1.0: plain}
    for ratio in _ratios(source, target):
        if _price(ratio, _PLACING_EXPONENT) > plain:
            found[ratio] = _similarity_at(ratio, source, target)
    similar = max(_price(ratio, _EXPONENT) * like for ratio, like in found.items())
    ratio = max(found, key=lambda ratio: _price(ratio, _PLACING_EXPONENT) * found[ratio])  # 1 where equal
    if ratio == 1:
        return alignment, similar
    placed = compared(source, target, _scaled(source, ratio)).align()  # perhaps cut otherwise
    return replace(alignment, source=placed.source, pairs=placed.pairs), similar


def _similarity_at(ratio: float, source: Architecture, target: Architecture) -> float:
    """Return how much is alike with the widths of the source divided, 0 where that is too little to tell."""
    like = compared(source, target, _scaled(source, ratio)).similarity
    return like if like > _LEAST else 0.0


def _price(ratio: float, exponent: float) -> float:
    return float(min(ratio, 1 / ratio) ** exponent)


def _ratios(source: Architecture, target: Architecture) -> Iterator[float]:
    """Yield ratios of the widths at equal relative depth: the middle one, the first and the last; not 1."""
    if target.form != "dpiat":
        return
    profiles = [_profile(architecture) for architecture in (source, target)]
    if not all(len(profile) for profile in profiles):
        return
    places = np.linspace(0, 1, _N_POSITIONS)
    own, other = (profile[np.round(places * (len(profile) - 1)).astype(int)] for profile in profiles)
    ratios = np.sort(own / other)
    candidates = (float(ratios[len(ratios) // 2]), float(own[0] / other[0]), float(own[-1] / other[-1]))
    yield from (ratio for ratio in dict.fromkeys(candidates) if ratio != 1)


@remembered
def _profile(architecture: Architecture) -> NDArray[np.float64]:
    """Widths of what the blocks return, in order; of the layers where there are no blocks."""
    body = architecture.items[: len(architecture.items) - len(head_layers(architecture))]
    widths = []
    for item in [item for item in body if isinstance(item, Block)] or body:
        last = [layer for layer in item.layers if is_weighted(layer)][-2:]  # one of them may be the shortcut
        if last:
            widths.append(min(map(out_width, last)))
    return np.array([width for width in widths if width], dtype=np.float64)  # without empty layers


@dataclass(frozen=True)
class _Scalable:
    """A table in which layers that are scaled otherwise are rows of their own.

    Parameters
    ----------
    table : Table
    is_fixed : ndarray of shape (n_layers, 2), bool
        Whether a layer keeps its outputs, and its inputs, whatever the ratio.
    """

    table: Table
    is_fixed: NDArray[np.bool_]


@remembered
def _scalable(architecture: Architecture) -> _Scalable:
    table = table_of(architecture)
    order, kept = table.order.tolist(), [(False, False)] * len(table.layer_kind)
    of_row = list(range(len(kept)))
    n_body = len(architecture.items) - len(head_layers(architecture))
    items: list[tuple[bool, tuple[int, ...]]] = []
    is_first, place = True, 0
    for i, item in enumerate(architecture.items):
        rows = order[place : place + len(item.layers)]
        place += len(rows)
        for j, layer in enumerate(item.layers if is_first or i >= n_body else ()):
            # classes are kept, and what the network is given
            is_given = is_first and is_weighted(layer)
            is_first = is_first and not is_weighted(layer)
            if i >= n_body or is_given:
                of_row.append(rows[j])
                rows[j] = len(kept)
                kept.append((True, False) if i >= n_body else (False, True))
        items.append((not isinstance(item, Block), tuple(rows)))
    apart = replace(table, layer_kind=table.layer_kind[of_row], layer_dims=table.layer_dims[of_row])
    return _Scalable(apart.with_items(items), np.array(kept))


def _scaled(architecture: Architecture, ratio: float) -> Table:
    """Divide the channels of all layers."""
    own = _scalable(architecture)
    dims = own.table.layer_dims.copy()
    channels = dims[:, :2]
    is_fixed = own.is_fixed | (channels <= _FIXED)
    dims[:, :2] = np.where(is_fixed, channels, np.maximum(np.rint(channels / ratio), 1.0))
    return replace(own.table, layer_dims=dims)
