"""A stage of a single block reads as one block; with a second block in it, it reads as a stage.

So where a stage grows from one block to several, source and target are cut differently. Cutting the source's block
the way a longer stage is cut makes them comparable: children with at least two convolution or linear layers become
blocks, all other layers stand alone.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import groupby

from transfer.structure.layers import is_weighted
from transfer.structure.records import Architecture, Block, Item, Layer

__all__ = ["unfolded"]


def unfolded(architecture: Architecture, positions: Collection[int]) -> Architecture:
    """Cut blocks as if they were stages of several blocks.

    Parameters
    ----------
    architecture : Architecture
    positions : collection of int
        Of the blocks to cut.

    Returns
    -------
    Architecture
        The same one if none of the blocks has a block within.
    """
    items: list[Item] = []
    for i, item in enumerate(architecture.items):
        items += _parts(item) if i in positions and isinstance(item, Block) else [item]
    is_same = len(items) == len(architecture.items)
    return architecture if is_same else Architecture(architecture.form, tuple(items))


def _parts(block: Block) -> list[Item]:
    split = [layer.path.split(".") for layer in block.layers]
    depth = 0
    while all(len(path) > depth + 1 for path in split) and len({path[depth] for path in split}) == 1:
        depth += 1
    parts: list[Item] = []
    for _, members in groupby(block.layers, key=lambda layer: layer.path.split(".")[: depth + 1]):
        layers: tuple[Layer, ...] = tuple(members)
        is_block = sum(map(is_weighted, layers)) >= 2
        parts += [Block(layers)] if is_block else layers
    has_blocks = any(isinstance(part, Block) for part in parts)
    return parts if has_blocks and len(parts) > 1 else [block]
