"""Which part of a target each of several sources supplies.

An encoder comes from one network, a decoder or a neck from another. The first source gets the part that it is most
like. What is left is aligned with the next one by itself, in the order of the target; layers of which anything was
filled are left as they are.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

from transfer.alignment.matching import Alignment, match, plain_similarity
from transfer.alignment.scaling import at_common_scale, scaled_similarity
from transfer.options import Options
from transfer.planning.cautions import with_cautions
from transfer.planning.dpiat_rows import dpiat_rows
from transfer.planning.planned import TransferPlan
from transfer.planning.sides import Sides
from transfer.structure.layers import in_width, is_weighted, out_width
from transfer.structure.meaning import head_paths
from transfer.structure.records import Architecture, Block, Item, Layer

_GAIN = 1.1
"""So many times more alike has a part of a target to be than all of it."""

_MOST_NODES, _MOST_CUTS = 8, 64
"""Of so many nodes all runs are tried, of so many those from the first one on."""

_TIE = 1e-9

__all__ = ["left_of", "part_for", "plan_rest", "share_of", "unfilled"]


def part_for(source: Architecture, target: Architecture) -> Architecture:
    """Return the part of a target that a source is most like, where others are to follow: an encoder, say.

    Parts are neighbours among the first nodes of the name tree, in the order of the target. All of it is meant
    unless one of them is clearly more alike.

    Parameters
    ----------
    source, target : Architecture
        In ``dpiat`` form.
    """

    def likeness(part: Architecture) -> float:
        return scaled_similarity(source, part, plain_similarity(source, part)) if part.n_scoring else 0.0

    nodes = _nodes(target)
    n = len(nodes)
    starts = range(n) if n <= _MOST_NODES else range(1)
    ranges = [(i, j) for i in starts for j in range(i + 1, n + 1) if j - i < n] if n <= _MOST_CUTS else []
    best, most = target, _GAIN * likeness(target)
    for i, j in ranges:
        part = left_of(target, {name for names in nodes[i:j] for name in names})
        value = likeness(part)
        if value > most + _TIE or (value > most - _TIE and best is not target and part.n_scoring > best.n_scoring):
            best, most = part, value
    return best


def _nodes(target: Architecture) -> list[list[str]]:
    """Names of the tensors below each of the first nodes of the name tree that there are several of, in order."""
    paths = [layer.path.split(".") for layer in target.layers()]
    depth = next((i for i in range(min(map(len, paths), default=0)) if len({path[i] for path in paths}) > 1), 0)
    found: list[list[str]] = []
    last = None
    for path, layer in zip(paths, target.layers(), strict=True):
        if path[depth] != last:
            found.append([])
            last = path[depth]
        found[-1] += [tensor.name for tensor in layer.tensors]
    return found


def unfilled(parts: Sequence[TransferPlan], target: Architecture) -> set[str]:
    """Names of the tensors that a further source may fill, each under one name.

    Parameters
    ----------
    parts : sequence of TransferPlan
        Of the sources before; the first lists every tensor.
    target : Architecture
        All of it.
    """
    left = {row.name for row in parts[0].tensors if row.status == "fresh" and not row.tied_to}
    left -= {row.name for part in parts[1:] for row in part.tensors}
    return _without_lone_heads(target, left)


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


def plan_rest(sides: Sides, parts: Sequence[TransferPlan], options: Options | None) -> TransferPlan:
    """Plan what a further source supplies of a target.

    Parameters
    ----------
    sides : Sides
        Of the further source and all of the target.
    parts : sequence of TransferPlan
        Of the sources before.
    options : Options, optional

    Returns
    -------
    TransferPlan
        With the rows that are filled, perhaps none. Its similarity says how much of what is left the source can
        supply: layers that nothing is left for do not count against it.
    """
    names = unfilled(parts, sides.target)
    rest = left_of(sides.target, names)
    aligned, similarity = at_common_scale(match(sides.source, rest))
    # planned within the whole target: where channels come from, and what is a classifier, is seen there
    whole = _in_whole(aligned, sides.target)
    carried_out, planned = dpiat_rows(
        whole, sides.allowed(options), sides.module, {layer.path for layer in rest.layers()}
    )
    rows = {name: row for name, row in planned.items() if name in names and row.status != "fresh"}
    kept = _without_lone_heads(sides.target, rows)
    rows = {name: row for name, row in rows.items() if name in kept}
    share = share_of(similarity, sides.source, rest)
    note = with_cautions(sides.note, carried_out) if rows else ""
    return TransferPlan("dpiat", share, tuple(rows.values()), carried_out, note=note)


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


def _without_lone_heads(target: Architecture, names: Collection[str]) -> set[str]:
    """Leave classifiers out that read what others supply: they have learned other features."""
    heads = head_paths(target)
    kept = set(names)
    before: list[Layer] = []
    for layer in target.layers():
        if layer.path not in heads and not layer.is_output:
            before += [layer] * is_weighted(layer)
            continue
        fitting = [other for other in before if is_weighted(layer) and out_width(other) == in_width(layer)]
        read = (fitting or before)[-1:]
        if not any(tensor.name in names for other in read for tensor in other.tensors):
            kept -= {tensor.name for tensor in layer.tensors}
    return kept
