"""What one layer is by itself, and how wide: read from its kind, its shape and what was seen of it."""

from __future__ import annotations

from transfer.structure.records import Layer

__all__ = [
    "dims_of",
    "in_width",
    "is_bare",
    "is_dense",
    "is_depthwise",
    "is_lookup",
    "is_pointwise",
    "is_spatial",
    "is_weighted",
    "out_width",
    "parent_of",
    "share_positions",
]


def dims_of(layer: Layer) -> tuple[int, ...]:
    """Shape of a layer's first tensor; only placeholders have none."""
    return layer.tensors[0].shape  # asked all the time, so without `Layer.dims`


def parent_of(layer: Layer) -> str:
    """Path of the node of the name tree above a layer."""
    return layer.path.rpartition(".")[0]


def in_width(layer: Layer) -> int:
    """Count the channels that a linear layer or a convolution reads, per group if it has groups."""
    if layer.is_transposed:
        return dims_of(layer)[0] // max(layer.n_groups, 1)
    return dims_of(layer)[0 if is_depthwise(layer) else 1]


def out_width(layer: Layer) -> int:
    """Count the channels that a layer gives; a scalar gives none."""
    dims = dims_of(layer)
    if layer.is_transposed:
        return dims[1] * max(layer.n_groups, 1)
    return dims[0] if dims else 0


def is_weighted(layer: Layer) -> bool:
    """Whether a layer multiplies by a matrix: linear or convolution."""
    return layer.kind.startswith(("conv", "linear"))


def is_dense(layer: Layer) -> bool:
    """Whether a layer mixes channels: linear, or a convolution that is not depthwise."""
    return is_weighted(layer) and not is_depthwise(layer)


def is_depthwise(layer: Layer) -> bool:
    """Whether a layer is a convolution that keeps channels apart."""
    dims = dims_of(layer)
    is_single = layer.kind.startswith("conv") and dims[1] == 1 and dims[0] > 1
    return is_single and not (layer.is_transposed and layer.n_groups == 1)  # that one gives one channel


def is_pointwise(layer: Layer) -> bool:
    """Whether a layer is linear or a convolution of one position."""
    return is_weighted(layer) and not is_spatial(layer)


def is_spatial(layer: Layer) -> bool:
    """Whether a convolution's kernel is larger than one position."""
    kernel = dims_of(layer)[2:]
    return bool(kernel) and max(kernel) > 1


def is_lookup(layer: Layer) -> bool:
    """Whether a layer was seen to take rows out of a table, so that its channels come last."""
    return layer.facts.startswith("embedding")


def is_bare(layer: Layer) -> bool:
    """Whether a layer is a bare parameter, of no kind that is known."""
    return layer.kind.startswith("parameter")


def share_positions(a: Layer, b: Layer) -> bool:
    """Whether kernels have more than their middle in common: not a kernel over time alone and one of an image."""
    if a.kind == b.kind or not (is_weighted(a) and is_weighted(b) and is_spatial(a) and is_spatial(b)):
        return True
    n_common = min(len(dims_of(a)), len(dims_of(b))) - 2
    return any(min(sizes) > 1 for sizes in zip(dims_of(a)[-n_common:], dims_of(b)[-n_common:], strict=True))
