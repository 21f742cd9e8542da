"""What layers mean, read from shapes, kinds and the shape of the name tree: heads, fused layers, residual exits.

The text of names is not looked at, so a checkpoint with other names means the same; but for the last word of a bare
parameter's name, if that is bias.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from transfer.structure.records import Architecture, Block, Layer, Tensor, remembered
from transfer.wiring import Branch

__all__ = [
    "dims_of",
    "head_layers",
    "head_paths",
    "in_width",
    "is_dense",
    "is_depthwise",
    "is_lookup",
    "is_pointwise",
    "is_spatial",
    "is_weighted",
    "keeps_width",
    "n_fused_parts",
    "out_width",
    "parent_of",
    "residual_exits",
    "separate_biases",
    "share_positions",
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
    exits = [[t for t in layer.tensors if _is_bare(layer) or t.role in ("weight", "bias")] for layer in ends]
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
        if _is_bare(layer)
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


def _is_bare(layer: Layer) -> bool:
    return layer.kind.startswith("parameter")


def is_lookup(layer: Layer) -> bool:
    """Whether a layer was seen to take rows out of a table, so that its channels come last."""
    return layer.facts.startswith("embedding")


def is_weighted(layer: Layer) -> bool:
    """Whether a layer multiplies by a matrix: linear or convolution."""
    return layer.kind.startswith(("conv", "linear"))


def is_pointwise(layer: Layer) -> bool:
    """Whether a layer is linear or a convolution of one position."""
    return is_weighted(layer) and not is_spatial(layer)


def is_spatial(layer: Layer) -> bool:
    """Whether a convolution's kernel is larger than one position."""
    kernel = dims_of(layer)[2:]
    return bool(kernel) and max(kernel) > 1


def share_positions(a: Layer, b: Layer) -> bool:
    """Whether kernels have more than their middle in common: not a kernel over time alone and one of an image."""
    if a.kind == b.kind or not (is_weighted(a) and is_weighted(b) and is_spatial(a) and is_spatial(b)):
        return True
    n_common = min(len(dims_of(a)), len(dims_of(b))) - 2
    return any(min(sizes) > 1 for sizes in zip(dims_of(a)[-n_common:], dims_of(b)[-n_common:], strict=True))


def is_dense(layer: Layer) -> bool:
    """Whether a layer mixes channels: linear, or a convolution that is not depthwise."""
    return is_weighted(layer) and not is_depthwise(layer)


def is_depthwise(layer: Layer) -> bool:
    """Whether a layer is a convolution that keeps channels apart."""
    dims = dims_of(layer)
    is_single = layer.kind.startswith("conv") and dims[1] == 1 and dims[0] > 1
    return is_single and not (layer.is_transposed and layer.n_groups == 1)  # that one gives one channel


def out_width(layer: Layer) -> int:
    """Count the channels that a layer gives; a scalar gives none."""
    dims = dims_of(layer)
    if layer.is_transposed:
        return dims[1] * max(layer.n_groups, 1)
    return dims[0] if dims else 0


def in_width(layer: Layer) -> int:
    """Count the channels that a linear layer or a convolution reads, per group if it has groups."""
    if layer.is_transposed:
        return dims_of(layer)[0] // max(layer.n_groups, 1)
    return dims_of(layer)[0 if is_depthwise(layer) else 1]


def dims_of(layer: Layer) -> tuple[int, ...]:
    """Shape of a layer's first tensor; only placeholders have none."""
    return layer.tensors[0].shape  # asked all the time, so without `Layer.dims`


def parent_of(layer: Layer) -> str:
    """Path of the node of the name tree above a layer."""
    return layer.path.rpartition(".")[0]


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
