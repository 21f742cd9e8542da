"""Classifiers that stay fresh: no louder than the one the features were trained with.

A network may draw its classifier so widely (timm's EfficientNets: uniform up to the inverse root of the number of
classes) that on trained features the first loss is two to three times that of guessing, and the first steps go
into undoing it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from transfer.alignment.matching import Alignment
from transfer.planning.planned import PlannedTensor, fresh
from transfer.structure.meaning import head_layers
from transfer.structure.records import Layer, Tensor

__all__ = ["quiet_heads"]


def quiet_heads(alignment: Alignment, rows: Mapping[str, PlannedTensor]) -> dict[str, PlannedTensor]:
    """Let the random weights of fresh classifiers be at most as large as those of the source's classifier.

    Parameters
    ----------
    alignment : Alignment
    rows : mapping of str to PlannedTensor
        By name; a tensor without one is fresh.

    Returns
    -------
    dict of str to PlannedTensor
        The rows that change.
    """
    heads = head_layers(alignment.target)
    inside = {p.source.path for p in alignment.pairs if p.source.dims == p.target.dims and p.target not in heads}
    # a network without classifier ends in a layer that others have inside
    theirs = [layer for layer in head_layers(alignment.source) if layer.path not in inside]
    given = next(filter(None, map(_weight, theirs)), None)
    if given is None:
        return {}
    found = {}
    for tensor in filter(None, map(_weight, heads)):
        row = rows.get(tensor.name) or fresh(tensor, "no source layer was matched")
        if row.status == "fresh":
            found[tensor.name] = replace(row, no_larger_than=given.name)
    return found


def _weight(layer: Layer) -> Tensor | None:
    return next((t for t in layer.tensors if t.role == "weight" and t.is_continuous and 0 not in t.shape), None)
