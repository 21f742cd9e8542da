"""What feeds the blocks that the target has and the source has not.

The dynamic programme spreads the copies of a source block evenly; which of several like blocks is the inserted
one is free. It is the last ones here: the others then keep their places, which matters where blocks alternate
(shifted windows, grid and block attention).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from transfer.alignment.matching import Alignment, LayerPair
from transfer.channels.concatenation import concatenating_items
from transfer.structure.meaning import residual_exits
from transfer.structure.records import Block, structure_keys

__all__ = ["fed_by_neighbours", "pack_insertions", "shared_exits"]


def pack_insertions(alignment: Alignment) -> Alignment:
    """Move insertions to the end of each stretch of like blocks.

    A stretch is a sequence of neighbouring target blocks of equal layers that neighbouring source blocks of equal
    layers feed. Its first target blocks then take one source block each, in order, and the last source block feeds
    the rest; the value of the alignment stays what it was found to be.

    Parameters
    ----------
    alignment : Alignment

    Returns
    -------
    Alignment
    """
    by_item: dict[int, list[LayerPair]] = {}
    for pair in alignment.pairs:
        by_item.setdefault(pair.target_item, []).append(pair)
    pairs: list[LayerPair] = []
    item = 0
    n_items = len(alignment.target.items)
    while item < n_items:
        end = item + 1
        while end < n_items and item in by_item and _is_like(alignment, by_item, end - 1, end):
            end += 1
        members = [by_item.get(i, []) for i in range(item, end)]
        sources = sorted({pair.source_item for found in members for pair in found})
        if len(sources) < end - item and len(sources) > 1:
            for offset, found in enumerate(members):
                pairs += _refed(alignment, found, sources[min(offset, len(sources) - 1)])
        else:
            pairs += [pair for found in members for pair in found]
        item = end
    return replace(alignment, pairs=tuple(pairs))


def _is_like(alignment: Alignment, by_item: dict[int, list[LayerPair]], a: int, b: int) -> bool:
    """Whether two neighbouring target blocks and the source blocks that feed them are pairwise equal."""
    if a not in by_item or b not in by_item:
        return False
    targets, sources = structure_keys(alignment.target), structure_keys(alignment.source)
    feeding = by_item[a][0].source_item, by_item[b][0].source_item
    return (
        feeding[1] - feeding[0] in (0, 1)
        and targets[a] == targets[b]
        and sources[feeding[0]] == sources[feeding[1]]
    )


def _refed(alignment: Alignment, pairs: Sequence[LayerPair], source_item: int) -> list[LayerPair]:
    """Feed the same target layers from the same places of another source block of equal layers."""
    new = alignment.source.items[source_item]
    result = []
    for pair in pairs:
        old = alignment.source.items[pair.source_item]
        assert isinstance(old, Block)
        assert isinstance(new, Block)
        place = next(i for i, layer in enumerate(old.layers) if layer is pair.source)
        result.append(replace(pair, source=new.layers[place], source_item=source_item))
    return result


def fed_by_neighbours(alignment: Alignment, scored: Alignment) -> Alignment:
    """Feed inserted blocks, whose features are not used yet, from trained ones.

    They get what feeds the nearest block of equal layers, or where there is none what scored best.

    Parameters
    ----------
    alignment : Alignment
        In which nothing feeds them.
    scored : Alignment
        The best-scoring one; its source may be cut into blocks otherwise.

    Returns
    -------
    Alignment
    """
    members: dict[int, list[LayerPair]] = {}
    for pair in alignment.pairs:
        members.setdefault(pair.target_item, []).append(pair)
    items = alignment.target.items
    appending = concatenating_items(alignment.target)
    structures = structure_keys(alignment.target)
    position = {layer.path: i for i, item in enumerate(alignment.source.items) for layer in item.layers}
    pairs: list[LayerPair] = []
    for i, item in enumerate(items):
        like = [j for j in members if structures[j] == structures[i]]
        if i in members or i in appending or not isinstance(item, Block):
            pairs += members.get(i, [])
            continue
        if not like:
            pairs += [
                replace(pair, source_item=position[pair.source.path])
                for pair in scored.pairs
                if pair.target_item == i
            ]
            continue
        nearest = min(like, key=lambda j: (abs(i - j), j))
        neighbour = items[nearest]
        assert isinstance(neighbour, Block)
        place = {layer.path: k for k, layer in enumerate(neighbour.layers)}
        for pair in members[nearest]:
            pairs.append(replace(pair, target=item.layers[place[pair.target.path]], target_item=i))
    return replace(alignment, pairs=tuple(pairs))


def shared_exits(alignment: Alignment) -> dict[str, float]:
    """Divide what residual blocks add among those that one source block feeds.

    Together they then add about as much as the one did, instead of several times as much.

    Parameters
    ----------
    alignment : Alignment

    Returns
    -------
    dict of str to float
        Factor on the exits of such blocks, by tensor name.
    """
    fed: dict[int, set[int]] = {}
    for pair in alignment.pairs:
        fed.setdefault(pair.source_item, set()).add(pair.target_item)
    factors: dict[str, float] = {}
    for members in fed.values():
        for i in members if len(members) > 1 else ():
            item = alignment.target.items[i]
            exits = residual_exits(item) if isinstance(item, Block) else []
            factors |= {tensor.name: 1 / len(members) for tensor in exits}
    return factors
