"""Query, key and value, or value and gate: one fused layer in one network, layers of their own in the other.

Both are the same map; the parts of the fused layer are taken in the order of the separate ones. Between layers
of the same widths `partition` finds them however they are cut. Else, which layers are parallel parts rather than a
sequence is read from shapes: neighbours that read and give as much as each other, three of them (two if they give
another width than they read), before a layer that reads the width of one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby, pairwise

from transfer.alignment.matching import Alignment, LayerPair, match_layers
from transfer.channels.partition import Part, Parts, are_cut_otherwise, equal_parts, parts_of
from transfer.regions import Box, Constant, Fill, Region
from transfer.structure.layers import in_width, is_pointwise, is_weighted, out_width
from transfer.structure.meaning import n_fused_parts
from transfer.structure.records import Architecture, Block, Layer, Tensor, remembered

__all__ = ["Parts", "fill_parts", "pair_parts", "taken_by"]


def pair_parts(alignment: Alignment) -> tuple[Alignment, tuple[Parts, ...]]:
    """Find fused layers whose counterparts are separate, and the reverse.

    Parameters
    ----------
    alignment : Alignment

    Returns
    -------
    alignment : Alignment
        Without pairs for these layers; the others of their blocks are aligned once more, for one of the separate
        layers may have taken the place of another layer of its shape.
    parts : tuple of (target parts, source parts)
    """
    pairs: list[LayerPair] = []
    parts: list[Parts] = []
    ours, theirs = _groups(alignment.target), _groups(alignment.source)
    for (t, s), members in groupby(alignment.pairs, key=lambda pair: (pair.target_item, pair.source_item)):
        target, source = alignment.target.items[t], alignment.source.items[s]
        met, found = list(members), []
        if isinstance(target, Block) and isinstance(source, Block):
            is_other = not _met_one_by_one(met, target, source)
            is_other = is_other and are_cut_otherwise(alignment.target, alignment.source, t, s)
            found = list(equal_parts(target.layers, source.layers)) if is_other else []
            found = found or list(_counterparts(ours[t], theirs[s]))
        if not found:
            pairs += met
            continue
        parts += found
        taken = taken_by(found)
        rest = match_layers(
            [layer for layer in source.layers if layer.path not in taken[0]],
            [layer for layer in target.layers if layer.path not in taken[1]],
        )
        pairs += [LayerPair(a, b, score, s, t) for a, b, score in rest]
    return replace(alignment, pairs=tuple(pairs)), tuple(parts)


def _met_one_by_one(pairs: Sequence[LayerPair], target: Block, source: Block) -> bool:
    """Whether layers met one by one, in order, and some have become wider: nothing is cut at another place then."""
    ours, theirs = ([layer for layer in block.layers if is_weighted(layer)] for block in (target, source))
    met = [(pair.target.path, pair.source.path) for pair in pairs if is_weighted(pair.target)]
    is_plain = met == [(a.path, b.path) for a, b in zip(ours, theirs, strict=False)] and len(ours) == len(theirs)
    return is_plain and sum(map(out_width, ours)) != sum(map(out_width, theirs))


def taken_by(parts: Sequence[Parts]) -> tuple[set[str], set[str]]:
    """Paths of the layers of source and target that are parts."""
    target, source = ({path for part in side for path in _paths(part)} for side in _sides(parts))
    return source, target


def _sides(parts: Sequence[Parts]) -> Iterator[list[Part]]:
    for side in (0, 1):
        yield [part for both in parts for part in both[side]]


def _paths(part: Part) -> Iterator[str]:
    """Yield the layer, and the vector with its bias if that is no part of it."""
    yield part.layer.path
    if part.bias is not None:
        yield part.bias[0].path


def fill_parts(parts: Sequence[Parts], *, zero_new_inputs: bool = True) -> dict[str, tuple[Tensor, Fill]]:
    """Fill fused layers from separate ones, and separate ones from fused ones.

    Parameters
    ----------
    parts : sequence of (target parts, source parts)
    zero_new_inputs : bool
        Clear the weights from new inputs into the outputs that are filled.

    Returns
    -------
    dict of str to (Tensor, Fill)
        By the name of the target tensor; with the first source tensor.
    """
    found: dict[str, tuple[Tensor, Fill]] = {}
    for target, source in parts:
        for role in ("weight", "bias"):
            found |= _fills(target, source, role, zero_new_inputs=zero_new_inputs)
    return found


_Grouped = dict[int, tuple[list[tuple[Part, ...]], list[tuple[Part, ...]]]]
"""Fused and separate groups of a block, by the number of their parts."""


@remembered
def _groups(architecture: Architecture) -> list[_Grouped]:
    """List the groups of every item; a single layer has none."""
    return [_groups_of(item.layers) if isinstance(item, Block) else {} for item in architecture.items]


def _groups_of(layers: Sequence[Layer]) -> _Grouped:
    weighted = [i for i, layer in enumerate(layers) if is_weighted(layer)]
    n_parts = {i: n_fused_parts(layers, i) for i in weighted}
    return {
        n: (
            [_in_parts(layers[i], layers, n) for i in weighted if n_parts[i] == n],
            _separate([layers[i] for i in weighted], layers, n),
        )
        for n in (3, 2)
    }


def _counterparts(target: _Grouped, source: _Grouped) -> Iterator[Parts]:
    """Pair the groups of parts that are fused on one side and separate on the other, in order."""
    for n in target if source else ():
        (our_fused, our_separate), (their_fused, their_separate) = target[n], source[n]
        if our_fused and not their_fused:
            yield from zip(our_fused, their_separate, strict=False)
        elif their_fused and not our_fused:
            yield from zip(our_separate, their_fused, strict=False)


def _in_parts(layer: Layer, layers: Sequence[Layer], n: int) -> tuple[Part, ...]:
    """Cut a fused layer of a block."""
    return parts_of(layer, layers, [out_width(layer) // n * (k + 1) for k in range(n)])


def _separate(weighted: Sequence[Layer], layers: Sequence[Layer], n: int) -> list[tuple[Part, ...]]:
    """Find parallel layers among the weighted ones of a block."""
    found = []
    i = 0
    while i + n < len(weighted):
        group, after = weighted[i : i + n], weighted[i + n]
        is_parallel = (
            all(is_pointwise(layer) for layer in group)
            and all(a.dims == b.dims and a.kind == b.kind for a, b in pairwise(group))
            and (n == 3 or out_width(group[0]) != in_width(group[0]))
            and in_width(after) == out_width(group[0])
        )
        if is_parallel:
            found.append(tuple(part for layer in group for part in parts_of(layer, layers, [out_width(layer)])))
        i += n if is_parallel else 1
    return found


def _fills(
    target: Sequence[Part], source: Sequence[Part], role: str, *, zero_new_inputs: bool
) -> dict[str, tuple[Tensor, Fill]]:
    regions: dict[str, list[Region]] = {}
    constants: dict[str, list[Constant]] = {}
    first: dict[str, Tensor] = {}
    for ours, theirs in zip(target, source, strict=True):
        place, given = ours.piece(role), theirs.piece(role)
        if place is None:
            continue
        new, at = place
        zeros = (0,) * (len(new.shape) - 1)
        start = at, *zeros
        if given is None:  # some models have no bias for keys: that is a bias of zero
            box = Box(start, (ours.size, *new.shape[1:]))
            constants.setdefault(new.name, []).append(Constant(box))
            continue
        old, old_at = given
        n = min(ours.size, theirs.size)
        size = (n, *(min(a, b) for a, b in zip(old.shape[1:], new.shape[1:], strict=False)))
        size += (1,) * (len(new.shape) - len(size))
        if zero_new_inputs and size[1:] != new.shape[1:]:
            constants.setdefault(new.name, []).append(Constant(Box(start, (n, *new.shape[1:]))))
        region = Region((old_at, *zeros), start, size, old.name)
        regions.setdefault(new.name, []).append(region)
        first.setdefault(new.name, old)
    return {
        name: (tensor, Fill("by part", tuple(regions[name]), tuple(constants.get(name, ()))))
        for name, tensor in first.items()
    }
