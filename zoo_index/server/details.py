"""All that is told of one architecture: its weights, its blocks, its neighbours.

Paths of the machine that the index is on are not told, only whether the weights are there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from transfer.structure.records import Architecture, Block, Item
from zoo_index.index.search import Search
from zoo_index.server.atlas import Atlas
from zoo_index.server.neighbours import Neighbours

__all__ = ["blocks_of", "entry_values", "neighbour_values", "order_of"]

_TOLD = (
    *("name", "architecture", "catalogue", "family", "license", "dataset", "task", "input_size", "n_classes"),
    *("n_params", "n_bytes", "downloads", "top1", "top5", "hub_id", "url"),
)
"""What is told of an entry."""


def entry_values(entry: Mapping[str, Any], *, available: bool) -> dict[str, Any]:
    """Return what is told of a set of weights, in JSON values."""
    return {**{name: entry[name] for name in _TOLD}, "available": available}


def neighbour_values(neighbours: Neighbours, atlas: Atlas) -> dict[str, Any]:
    """Name the neighbours of an architecture, with their similarities."""
    rows = {id_: row for row, id_ in enumerate(atlas.ids.tolist())}

    def named(scored: Sequence[tuple[int, float]]) -> list[dict[str, Any]]:
        return [
            {"name": atlas.keys[rows[id_]], "similarity": round(score, 4)} for id_, score in scored if id_ in rows
        ]

    return {"sources": named(neighbours.sources), "targets": named(neighbours.targets)}


def blocks_of(architecture: Architecture) -> list[dict[str, Any]]:
    """List blocks and single layers in order, equal ones that follow each other once.

    Parameters
    ----------
    architecture : Architecture

    Returns
    -------
    list of dict
        With ``times``, ``is_block``, ``params`` of each and ``layers``: texts such as ``conv2d 64x3x7x7``.
    """
    return [
        {
            "times": times,
            "is_block": isinstance(item, Block),
            "params": sum(t.size for layer in item.layers for t in layer.tensors),
            "layers": list(_layer_texts(item)),
        }
        for item, times in _runs(architecture.items)
    ]


def order_of(search: Search, ids: Sequence[int]) -> dict[int, str]:
    """Say whose order the blocks of some architectures are in.

    Parameters
    ----------
    search : Search
    ids : sequence of int

    Returns
    -------
    dict
        By id: ``network``, or ``file`` where only the names in a weights file are known. Files may be sorted by
        name, so their layers may run in another order.
    """
    known = search.by_header(ids)
    return {id_: "file" if id_ in known else "network" for id_ in ids}


def _runs(items: Sequence[Item]) -> Iterator[tuple[Item, int]]:
    for _, run in groupby(items, key=lambda item: tuple(_layer_texts(item))):
        same = list(run)
        yield same[0], len(same)


def _layer_texts(item: Item) -> Iterator[str]:
    for layer in item.layers:
        yield f"{layer.kind} {'x'.join(map(str, layer.dims))}" if layer.dims else layer.kind
