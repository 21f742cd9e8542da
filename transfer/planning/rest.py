"""What a further source supplies: the layers that the sources before it left fresh.

An encoder comes from one network, a decoder or a neck from another. What is left of the target is aligned with the
further source by itself, in the order of the target; layers of which anything was filled are left as they are.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from transfer.alignment.matching import Alignment, match
from transfer.alignment.scaling import at_common_scale
from transfer.options import Options
from transfer.planning.dpiat_rows import dpiat_rows
from transfer.planning.planned import PlannedTensor, TransferPlan
from transfer.planning.sides import Sides
from transfer.structure.meaning import head_paths, is_weighted
from transfer.structure.records import Architecture, Block, Item, Layer

__all__ = ["left_of", "plan_rest", "share_of", "unfilled"]


def unfilled(parts: Sequence[TransferPlan]) -> set[str]:
    """Names of the tensors that no source supplies, each under one name; the first part lists all."""
    left = {row.name for row in parts[0].tensors if row.status == "fresh" and not row.tied_to}
    return left.difference(*({row.name for row in part.tensors} for part in parts[1:]))


def left_of(target: Architecture, names: Collection[str]) -> Architecture:
    """Return the layers that have nothing but tensors of some names, in their order and their blocks.

    Parameters
    ----------
    target : Architecture
    names : collection of str
        Of tensors.
    """
    items: list[Item] = []
    for item in target.items:
        layers = tuple(
            layer for layer in item.layers if layer.tensors and all(t.name in names for t in layer.tensors)
        )
        if layers:
            items.append(Block(layers) if isinstance(item, Block) else layers[0])
    return replace(target, items=tuple(items))


def plan_rest(sides: Sides, names: Collection[str], options: Options | None) -> TransferPlan:
    """Plan what a source supplies of some tensors of the target.

    Parameters
    ----------
    sides : Sides
        Of the further source and all of the target.
    names : collection of str
        Of the tensors that are still fresh.
    options : Options, optional

    Returns
    -------
    TransferPlan
        With the rows that are filled, perhaps none. Its similarity says how much of what is left the source can
        supply: layers that nothing is left for do not count against it.
    """
    rest = left_of(sides.target, names)
    aligned, similarity = at_common_scale(match(sides.source, rest))
    # planned within the whole target: where channels come from, and what is a classifier, is seen there
    whole = _in_whole(aligned, sides.target)
    carried_out, planned = dpiat_rows(
        whole, sides.allowed(options), sides.module, {layer.path for layer in rest.layers()}
    )
    rows = {name: row for name, row in planned.items() if name in names and row.status != "fresh"}
    rows = _without_lone_heads(sides.target, rows)
    share = share_of(similarity, sides.source, rest)
    return TransferPlan("dpiat", share, tuple(rows.values()), carried_out, note=sides.note if rows else "")


def share_of(similarity: float, source: Architecture, rest: Architecture) -> float:
    """How much of what is left a source can supply, in [0, 1], given the similarity of the two.

    A similarity counts the layers of both (`alignment.ranking.similarities`); here what is left counts alone.
    """
    return min(similarity * math.sqrt(source.n_scoring / max(rest.n_scoring, 1)), 1.0)


def _in_whole(aligned: Alignment, target: Architecture) -> Alignment:
    """Say where in the whole target the layers lie that an alignment feeds."""
    place = {layer.path: i for i, item in enumerate(target.items) for layer in item.layers}
    pairs = tuple(replace(pair, target_item=place[pair.target.path]) for pair in aligned.pairs)
    return replace(aligned, target=target, pairs=pairs)


def _without_lone_heads(target: Architecture, rows: Mapping[str, PlannedTensor]) -> dict[str, PlannedTensor]:
    """Leave classifiers out that would read what another source supplies: they have learned other features."""
    heads = head_paths(target)
    kept = dict(rows)
    is_own = False
    for layer in target.layers():
        if layer.path in heads or layer.is_output:
            if not is_own:
                kept = _without(kept, layer)
        elif is_weighted(layer):
            is_own = any(tensor.name in rows for tensor in layer.tensors)
    return kept


def _without(rows: Mapping[str, PlannedTensor], layer: Layer) -> dict[str, PlannedTensor]:
    names = {tensor.name for tensor in layer.tensors}
    return {name: row for name, row in rows.items() if name not in names}
