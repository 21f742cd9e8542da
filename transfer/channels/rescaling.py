"""Factors for layers that lost inputs and have no norm after them to make up for it.

A sum over m of n inputs that are alike and centred has m / n of the variance, so weights times sqrt(n / m) give its
spread back: the rule by which layers are initialised (He et al., arXiv 1502.01852), applied to a smaller fan-in.

A layer has a norm after it if the next layer of its block is a batch norm of its outputs, or another norm that is
its sibling in the name tree; elsewhere a layer norm normalizes the residual stream. Layer scales in between do not
count.
"""

from __future__ import annotations

from collections.abc import Sequence

from transfer.structure.layers import dims_of, is_dense, parent_of
from transfer.structure.records import Layer

__all__ = ["is_normalized", "rescale_factor"]


def is_normalized(layers: Sequence[Layer], index: int) -> bool:
    """Whether a norm of a layer's outputs follows it.

    Parameters
    ----------
    layers : sequence of Layer
        Of one block, or of the whole architecture.
    index : int
    """
    width = dims_of(layers[index])[0]
    for layer in layers[index + 1 :]:
        if layer.kind in ("batchnorm", "norm"):
            is_own = layer.kind == "batchnorm" or parent_of(layer) == parent_of(layers[index])
            return is_own and dims_of(layer)[0] == width
        if not layer.kind.startswith("parameter"):
            return False
    return False


def rescale_factor(
    layers: Sequence[Layer], index: int, source_layer: Layer, target_layer: Layer, *, power: float = 0.5
) -> float:
    """Factor for the weights of a layer that the target gives fewer inputs; 1 where it needs none.

    Parameters
    ----------
    layers : sequence of Layer
        Of the target: those around the layer.
    index : int
        Of the target's layer among them.
    source_layer, target_layer : Layer
        A matched pair.
    power : float
        1/2 for inputs that are independent and centred, 1 for inputs that are all alike.

    Returns
    -------
    float
        At least 1. It is for the weight alone, not for the bias.
    """
    if not (is_dense(source_layer) and is_dense(target_layer)) or is_normalized(layers, index):
        return 1.0
    n_source, n_target = dims_of(source_layer)[1], dims_of(target_layer)[1]
    return float((n_source / n_target) ** power) if n_source > n_target > 0 else 1.0
