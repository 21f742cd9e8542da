"""Both networks of a plan and what was matched in them, as JSON values: what a picture of the plan is drawn from.

>>> import torch.nn as nn, transfer
>>> from transfer.planning.outline import outlined
>>> plan = transfer.plan(nn.Linear(2, 3), nn.Linear(2, 3))
>>> drawn = outlined(plan, "mine")["outline"]
>>> drawn["sources"][0]["name"], drawn["pairs"]
('mine', [[0, 0, 0, 1.0]])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from transfer.alignment.matching import Alignment
from transfer.planning.planned import Supply
from transfer.structure.records import Architecture, Layer

__all__ = ["Outlined", "outline", "outlined"]


class Outlined(Protocol):
    """A plan or a report."""

    @property
    def alignments(self) -> tuple[Alignment, ...]:
        """Of every source with the target."""

    @property
    def supplies(self) -> tuple[Supply, ...]:
        """What each of several sources supplies."""

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""


def outlined(found: Outlined, source: str) -> dict[str, Any]:
    """Return the JSON values of a plan or a report, with ``outline`` among them.

    Parameters
    ----------
    found : TransferPlan or TransferReport
    source : str
        What its source is called, if it is one.
    """
    names = [supply.name for supply in found.supplies] or [source]
    return {**found.to_json(), "outline": outline(found.alignments, names)}


def outline(alignments: Sequence[Alignment], names: Sequence[str]) -> dict[str, Any]:
    """Write the networks of alignments as JSON values.

    Parameters
    ----------
    alignments : sequence of Alignment
        Of each source with the target, the main source first (`TransferPlan.alignments`).
    names : sequence of str
        Of the sources.

    Returns
    -------
    dict
        ``target``: its blocks in order, each a list of layers; a layer is ``[path, kind, tensors]``, a tensor
        ``[name, shape]``. ``sources``: name and blocks of each. ``pairs``: ``[source, layer of the source, layer of
        the target, score]``, where layers are counted over all blocks from 0. Layers without tensors are left out.
    """
    target = alignments[-1].target  # a source that others follow may have been aligned with a part
    places = _places(target)
    sources, pairs = [], []
    for i, (alignment, name) in enumerate(zip(alignments, names, strict=True)):
        own = _places(alignment.source)
        sources.append({"name": name, "blocks": _blocks(alignment.source)})
        pairs += [
            [i, own[pair.source.path], places[pair.target.path], float(pair.score)]
            for pair in alignment.pairs
            if pair.source.path in own and pair.target.path in places
        ]
    return {"target": _blocks(target), "sources": sources, "pairs": pairs}


def _places(architecture: Architecture) -> dict[str, int]:
    """Return the numbers of the layers that have tensors, by path."""
    return {layer.path: i for i, layer in enumerate(filter(_has_tensors, architecture.layers()))}


def _has_tensors(layer: Layer) -> bool:
    return bool(layer.tensors)


def _blocks(architecture: Architecture) -> list[list[Any]]:
    blocks = ([_values(layer) for layer in filter(_has_tensors, item.layers)] for item in architecture.items)
    return [block for block in blocks if block]


def _values(layer: Layer) -> list[Any]:
    tensors = [[t.name or ".".join(filter(None, (layer.path, t.role))), list(t.shape)] for t in layer.tensors]
    return [layer.path, layer.kind, tensors]
