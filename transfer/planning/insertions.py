"""Blocks that the target has and the source has not: where they go, and that they start as identity.

The dynamic programme spreads the copies of a source block evenly; which of several like blocks is the inserted
one is free. It is the last ones here: the others then keep their places, which matters where blocks alternate
(shifted windows, grid and block attention).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from transfer.alignment.matching import Alignment, LayerPair
from transfer.planning.meaning import residual_exits
from transfer.structure.records import Block, Item, Tensor

if TYPE_CHECKING:
    from torch import nn

__all__ = ["inserted_exits", "pack_insertions"]


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
    targets, sources = alignment.target.items, alignment.source.items
    feeding = by_item[a][0].source_item, by_item[b][0].source_item
    return (
        feeding[1] - feeding[0] in (0, 1)
        and _structure(targets[a]) == _structure(targets[b])
        and _structure(sources[feeding[0]]) == _structure(sources[feeding[1]])
    )


def _structure(item: Item) -> str | None:
    return repr([layer.canonical() for layer in item.layers]) if isinstance(item, Block) else repr(item.path)


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


def inserted_exits(alignment: Alignment, module: nn.Module | None) -> list[Tensor]:
    """List the exits of the residual blocks that have no source block of their own.

    Of several target blocks fed by one source block the best match is its counterpart, the first of equal ones;
    the others were inserted, and so were blocks that nothing feeds.
    """
    value: dict[int, float] = {}
    feeding: dict[int, int] = {}
    for pair in alignment.pairs:
        value[pair.target_item] = value.get(pair.target_item, 0.0) + pair.score
        feeding[pair.target_item] = pair.source_item
    counterpart: dict[int, int] = {}
    for item, source in feeding.items():
        best = counterpart.get(source)
        if best is None or value[item] > value[best] + 1e-9:
            counterpart[source] = item
    inserted: list[Tensor] = []
    verdicts: dict[str, bool] = {}  # blocks of equal layers behave alike, and asking one of them takes a while
    for item, block in enumerate(alignment.target.items):
        is_own = item in feeding and counterpart[feeding[item]] == item
        if isinstance(block, Block) and not is_own and (exits := residual_exits(block)):
            key = repr([layer.canonical() for layer in block.layers])
            if key not in verdicts:
                verdicts[key] = _is_residual(block, exits, module)
            if verdicts[key]:
                inserted += exits
    return inserted


def _is_residual(block: Block, exits: Sequence[Tensor], module: nn.Module | None) -> bool:
    """Whether zero exits make the block identity; without a module, whether it has a norm as such blocks do."""
    if module is not None:
        from transfer.planning.residual import is_identity_without

        names = [tensor.name for layer in block.layers for tensor in layer.tensors]
        verdict = is_identity_without(module, names, [tensor.name for tensor in exits])
        if verdict is not None:
            return verdict
    return any(layer.kind in ("batchnorm", "norm") for layer in block.layers)
