"""Bring blocks and layers from the order of registration into that of execution."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from transfer.structure.layers import is_weighted
from transfer.structure.records import Block, Item, Layer

__all__ = ["as_executed"]

_Place = tuple[int, int]
"""Of a layer in the run, and of what was not used behind the layer before it."""


def as_executed(items: Sequence[Item], order: Mapping[str, int]) -> tuple[Item, ...]:
    """Sort items, and the layers of each block, by first use.

    A layer that was not used stays behind the one before it. A block whose layers do not run one after the other is
    cut where another layer comes between; but not by bare parameters, which go before it.

    Parameters
    ----------
    items : sequence of Layer or Block
        In the order of registration.
    order : mapping of str to int
        Place of the first use of tensors, by name.

    Returns
    -------
    tuple of Layer or Block
    """
    places = _places(items, order)
    owner = {layer.path: i for i, item in enumerate(items) for layer in item.layers}
    spans = {i: _span(item, places) for i, item in enumerate(items) if isinstance(item, Block)}
    everything = _sorted_places((layer for item in items for layer in item.layers), places)
    spans = {  # without those that layers of others lie in
        i: span
        for i, span in spans.items()
        if _n_within(everything, span) == _n_within(_sorted_places(items[i].layers, places), span)
    }

    def key(layer: Layer) -> tuple[_Place, int]:
        place = places[layer.path]
        if _is_bare(layer):
            around = [start for i, (start, end) in spans.items() if start < place < end and i != owner[layer.path]]
            if around:
                return min(around), -1
        return place, 0

    layers = sorted((layer for item in items for layer in item.layers), key=key)
    found: list[Item] = []
    for i, members in groupby(layers, key=lambda layer: owner[layer.path]):
        run = tuple(members)
        is_block = isinstance(items[i], Block) and sum(map(is_weighted, run)) >= 2
        found += [Block(run)] if is_block else run
    return tuple(found)


def _sorted_places(layers: Iterable[Layer], places: Mapping[str, _Place]) -> list[_Place]:
    return sorted(places[layer.path] for layer in layers if not _is_bare(layer))


def _n_within(places: Sequence[_Place], span: tuple[_Place, _Place]) -> int:
    start, end = span
    return max(bisect_left(places, end) - bisect_right(places, start), 0)


def _is_bare(layer: Layer) -> bool:
    return layer.kind.startswith("parameter")


def _span(block: Block, places: Mapping[str, _Place]) -> tuple[_Place, _Place]:
    own = [places[layer.path] for layer in block.layers]
    return min(own), max(own)


def _places(items: Sequence[Item], order: Mapping[str, int]) -> dict[str, _Place]:
    places: dict[str, _Place] = {}
    last: _Place = (-1, 0)
    for item in items:
        used = [place for layer in item.layers if (place := _first_use(layer, order)) is not None]
        if used:
            last = (min(used) - 1, 1 << 20)  # before the item, behind all else
        for layer in item.layers:
            place = _first_use(layer, order)
            last = (place, 0) if place is not None else (last[0], last[1] + 1)
            places[layer.path] = last
    return places


def _first_use(layer: Layer, order: Mapping[str, int]) -> int | None:
    return min((order[tensor.name] for tensor in layer.tensors if tensor.name in order), default=None)
