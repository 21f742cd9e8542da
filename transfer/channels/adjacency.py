"""What layers of a block are to each other, read from shapes and their places in the name tree.

Reads what `meaning` reads, for coupling: which layers mix channels, which belong to an attention, which follow each
other for certain.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import prod

from transfer.structure.layers import dims_of, is_dense, is_spatial, is_weighted, parent_of
from transfer.structure.meaning import n_fused_parts
from transfer.structure.records import Layer

__all__ = [
    "UnclearError",
    "attention_parents",
    "has_group_norm",
    "is_chain",
    "n_parts_beside",
]


class UnclearError(Exception):
    """Widths do not add up, or a block may be read in more than one way."""


def attention_parents(layers: Sequence[Layer]) -> set[str]:
    """Find the nodes of the name tree that hold an attention: query, key and value in one layer, and a projection.

    Raises
    ------
    UnclearError
        If there is more to an attention than that, or query, key and value are layers of their own: then nothing
        tells which of its layers read the block's input. Or if the projection widens the block without a layer
        that widens what it is added to.
    """
    by_parent: dict[str, list[int]] = {}
    for i, layer in enumerate(layers):
        if is_dense(layer):
            by_parent.setdefault(parent_of(layer), []).append(i)
    shapes = [dims_of(layer)[:2] for layer in layers if is_dense(layer)]
    found = set()
    for parent, members in by_parent.items():
        dims = [dims_of(layers[i]) for i in members]
        n_parts = [n_parts_beside(layers, i) for i in members]
        if max(n_parts) == 1:
            if max(dims.count(d) for d in dims) >= 3 and all(prod(d[2:]) == 1 for d in dims):
                raise UnclearError
        elif len(members) > 2:
            raise UnclearError
        elif n_parts[0] == 3:
            n_in, n_out = dims[0][1], dims[1][0]
            if n_in != n_out and (n_out, n_in) not in shapes:
                raise UnclearError
            found.add(parent)
    return found


def n_parts_beside(layers: Sequence[Layer], i: int) -> int:
    """Count the parts of a layer's outputs as `n_fused_parts`, if the layer that reads them is a sibling of it."""
    following = next((layer for layer in layers[i + 1 :] if is_dense(layer)), None)
    if following is None or parent_of(following) != parent_of(layers[i]):
        return 1
    return n_fused_parts(layers, i)


def is_chain(layers: Sequence[Layer], i: int, others: Collection[int]) -> bool:
    """Whether a convolution, its batch norm and another convolution follow each other, side by side in the tree.

    A pair of different kernels from and to as many channels might be two branches, as where a network is
    reparametrised.

    Parameters
    ----------
    layers : sequence of Layer
    i : int
    others : collection of int
        Other widths that the second convolution might read; it may be grouped if it can read none of them.
    """
    if i + 2 >= len(layers):
        return False
    first, norm, second = layers[i : i + 3]
    if not (is_dense(second) and norm.kind == "batchnorm" and first.kind == second.kind):
        return False
    width, n_in = dims_of(first)[0], dims_of(second)[1]
    is_grouped = is_spatial(second) and width % n_in == 0 and n_in not in others
    return (
        dims_of(norm)[0] == width
        and (n_in == width or is_grouped)
        and parent_of(first) == parent_of(norm) == parent_of(second)
        and (dims_of(first)[1] != n_in or dims_of(first)[2:] == dims_of(second)[2:])
    )


def has_group_norm(layers: Sequence[Layer]) -> bool:
    """Whether a norm without statistics follows a convolution where others have a batch norm.

    A layer norm has the same tensors and does not mind the order of channels, but stands elsewhere: before the
    first layer of a branch, or between linear layers (1x1 convolutions).
    """
    for i, layer in enumerate(layers[1:], start=1):
        if layer.kind == "norm" and is_dense(layers[i - 1]) and dims_of(layers[i - 1])[0] == dims_of(layer)[0]:
            following = next((other for other in layers[i + 1 :] if is_weighted(other)), None)
            if is_spatial(layers[i - 1]) or (following is not None and is_spatial(following)):
                return True
    return False
