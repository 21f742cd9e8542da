"""Inserted parts of a network that only together return their input.

Standardization may cut a residual block into several blocks and layers: a stack of separable convolutions,
attention and MLP each in a module of its own, a norm before them. Such an item by itself is no identity, but the
module that owns it and its neighbours is. So the owner is looked for among the modules above an item, from the
inside out, as long as all that lies below was inserted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from transfer.structure.records import Block, Item

__all__ = ["owned_with"]


def owned_with(items: Sequence[Item], first: int, inserted: Collection[int]) -> Iterator[tuple[list[int], Block]]:
    """List what an inserted item may be a part of.

    Parameters
    ----------
    items : sequence of Layer or Block
        Of the target.
    first : int
        Position of the item.
    inserted : collection of int
        Positions of all inserted items.

    Yields
    ------
    list of int, Block
        Positions of the items that a module owns, and all of their layers; the innermost module first.
    """
    parts = items[first].layers[0].path.split(".")[:-1]
    before: list[int] = [first]
    while parts:
        prefix = ".".join(parts) + "."
        members = [i for i, item in enumerate(items) if any(layer.path.startswith(prefix) for layer in item.layers)]
        if not set(members) <= set(inserted):
            return
        if len(members) > len(before):
            yield members, Block(tuple(layer for i in members for layer in items[i].layers))
            before = members
        parts.pop()
