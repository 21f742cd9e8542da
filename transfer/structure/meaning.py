"""What layers are to each other, read from shapes, kinds and the name tree: heads, fused layers, residual exits.

The text of names is not looked at, so a checkpoint with other names means the same; but for the last word of a bare
parameter's name, if that is bias. What a layer is by itself is read in `layers`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from transfer.structure.layers import (
    dims_of,
    in_width,
    is_bare,
    is_dense,
    is_pointwise,
    is_spatial,
    is_weighted,
    out_width,
    parent_of,
)
from transfer.structure.records import Architecture, Block, Layer, Tensor, remembered
from transfer.wiring import Branch

__all__ = [
    "head_layers",
    "head_paths",
    "keeps_width",
    "n_fused_parts",
    "residual_exits",
    "separate_biases",
    "whole_branches",
]

_FUSED = (2, 3)
"""Two: key and value, or value and gate; three: query, key and value."""

_NO_KEYS = {(3, 2): (0, 2), (2, 1): (1,)}
"""Which parts vectors belong to, by the number of parts and of vectors, where keys have none."""


@remembered
def head_paths(architecture: Architecture) -> set[str]:
    """Paths of the classifier layers, see `head_layers`."""
    return {layer.path for layer in head_layers(architecture)}


@remembered
def head_layers(architecture: Architecture) -> list[Layer]:
    """Find the classifier layers, the last one first: what ends an architecture, linear or of one position.

    Several side by side if they read and give as much as each other, but not a stack. An architecture that ends in
    anything else has no head.
    """
    found: list[Layer] = []
    for item in reversed(architecture.items):
        if (
            not isinstance(item, Layer)
            or not is_pointwise(item)
            or (found and (item.dims != found[0].dims or in_width(item) == out_width(item)))
        ):
            break
        found.append(item)
    return found


def n_fused_parts(layers: Sequence[Layer], index: int) -> int:
    """Count the equal parts that a layer's outputs are split into, 1 if they are not.

    A layer is fused if it has two or three times as many outputs as the next weighted layer of its block has
    inputs: query, key and value before a projection, value and gate before the second layer of a gated MLP.

    Parameters
    ----------
    layers : sequence of Layer
        Of one block.
    index : int
    """
    if not is_dense(layers[index]) or is_spatial(layers[index]):
        return 1
    after = layers[index + 1] if index + 1 < len(layers) else None
    if after is not None and after.kind in ("batchnorm", "norm") and after.dims == (out_width(layers[index]),):
        return 1  # normalised as a whole: a convolution whose neighbour happens to be a shortcut
    following = next((layer for layer in layers[index + 1 :] if is_weighted(layer)), None)
    if following is None or not is_dense(following) or dims_of(following)[:2] == dims_of(layers[index])[:2]:
        return 1  # the last: two layers side by side
    n_outputs, n_inputs = out_width(layers[index]), in_width(following)
    return next((n for n in _FUSED if n_outputs == n * n_inputs), 1)


def separate_biases(layer: Layer, layers: Sequence[Layer]) -> list[tuple[Layer, int]]:
    """Find the vectors that are a fused layer's bias, part by part: of queries and values, and perhaps of keys.

    Parameters
    ----------
    layer : Layer
    layers : sequence of Layer
        Of its block.

    Returns
    -------
    list of (Layer, int)
        The vectors, and the output from which on they are added.
    """
    if any(tensor.role == "bias" for tensor in layer.tensors):
        return []
    vectors = [
        other
        for other in layers
        if other.kind.startswith("parameter")
        and other.kind.endswith("bias")
        and len(dims_of(other)) == 1
        and parent_of(other) in (layer.path, parent_of(layer))
    ]
    size = dims_of(vectors[0])[0] if len({vector.dims for vector in vectors}) == 1 else 0
    n = out_width(layer) // size if size else 0
    if size * n != out_width(layer):
        return []
    places = tuple(range(n)) if len(vectors) == n > 1 else _NO_KEYS.get((n, len(vectors)), ())
    return [(vector, place * size) for vector, place in zip(vectors, places, strict=False)]


def residual_exits(block: Block) -> list[Tensor]:
    """Tensors whose zeroing turns a residual block into identity; empty where it is none, or not recognized.

    Of each branch what ends it: the layer scale if there is one; else the norm after the last layer, or that layer.
    Where no branch was seen, what shapes propose: there are many ways to write an addition.
    """
    whole = whole_branches(block, is_appended=False)
    if not whole:
        return _exits_by_shape(block)
    ends = [
        layer
        for layer in block.layers
        if layer.wiring is not None and any(branch in whole for branch in layer.wiring.ends)
    ]
    exits = [[t for t in layer.tensors if is_bare(layer) or t.role in ("weight", "bias")] for layer in ends]
    return [tensor for tensors in exits for tensor in tensors] if all(exits) else []


def keeps_width(block: Block) -> bool:
    """Whether a block ends with as many channels as it starts from, as those do that go on in a stage.

    Read from shapes alone: a block without an addition may go on, too.
    """
    return bool(_exits_by_shape(block))


def whole_branches(block: Block, *, is_appended: bool) -> set[Branch] | None:
    """Find the branches that make up a block; none if any weighted layer of it lies in no such branch.

    Parameters
    ----------
    block : Block
    is_appended : bool
        Of which kind.

    Returns
    -------
    set of Branch or None
        The outermost ones; None where the network was not run.
    """
    around = [(is_weighted(layer), layer.wiring) for layer in block.layers if layer.wiring is not None]
    if not around:
        return None
    n_inside = Counter(branch for _, wiring in around for branch in wiring.inside)
    whole = {branch for branch, n in n_inside.items() if n == branch.n_layers and branch.is_appended == is_appended}
    outermost = [
        next((branch for branch in reversed(wiring.inside) if branch in whole), None)
        for needs_one, wiring in around
        if needs_one
    ]
    return set() if None in outermost else {branch for branch in outermost if branch is not None}


def _exits_by_shape(block: Block) -> list[Tensor]:
    """Guess the exits where nothing but shapes is known.

    In this order: the layer scales, if the block has any; else, of each residual branch, the batch norm after its
    last weighted layer, or that layer itself. A branch is a child with at least two weighted layers, or the
    weighted layers right under the block, if it returns to as many channels as it starts from.
    """
    layers = block.layers
    prefix = _common_prefix([layer.path for layer in layers])
    children: dict[str, list[int]] = {}
    for i, layer in enumerate(layers):
        if is_weighted(layer):
            rest = layer.path[len(prefix) :].lstrip(".").split(".")
            children.setdefault(rest[0] if len(rest) > 1 else "", []).append(i)
    direct = children.pop("", [])
    for name in [name for name, members in children.items() if len(members) < 2]:
        direct += children.pop(name)  # a convolution with its norm in a folder of its own is no branch
    direct.sort()
    if not direct and not children:
        return []
    width = out_width(layers[direct[-1]]) if direct else out_width(layers[next(iter(children.values()))[-1]])
    scales = [
        layer.tensors[0]
        for layer in layers
        if is_bare(layer)
        and layer.dims == (width,)
        and layer.tensors[0].is_continuous
        and "bias" not in layer.tensors[0].role
    ]
    branches = [*children.values(), direct] if direct else [*children.values()]
    if len(direct) >= 2 and _returns(layers, direct):
        width_in = in_width(layers[direct[0]])
        branches = [b for b in branches if b is direct or in_width(layers[b[0]]) == width_in]
    elif direct and all(not is_dense(layers[i]) for i in direct):
        branches.remove(direct)  # a depthwise convolution before the MLP is part of the MLP's branch
    if not branches or not all(_returns(layers, branch) for branch in branches):
        return []
    if scales:
        return scales
    exits: list[Tensor] = []
    for branch in branches:
        last = branch[-1]
        norm = layers[last + 1] if last + 1 < len(layers) else None
        chosen = norm if norm is not None and norm.kind == "batchnorm" else layers[last]
        exits += [tensor for tensor in chosen.tensors if tensor.role in ("weight", "bias")]
    return exits


def _returns(layers: Sequence[Layer], branch: Sequence[int]) -> bool:
    """Whether a branch ends with as many channels as it starts from."""
    first, last = layers[branch[0]], layers[branch[-1]]
    return in_width(first) == out_width(last)


def _common_prefix(paths: Sequence[str]) -> str:
    split = [path.split(".") for path in paths]
    common = []
    for level in _levels(split):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    return ".".join(common)


def _levels(split: Sequence[Sequence[str]]) -> Iterator[tuple[str, ...]]:
    """Components of all paths level by level, the last component of each left out."""
    return zip(*(path[:-1] for path in split), strict=False)
