"""What makes a layer return its input, or change nothing: identity kernels, norms of unit variance, zero biases."""

from __future__ import annotations

from transfer.regions import Box, Constant
from transfer.structure.records import Layer, Tensor

__all__ = ["EPSILON", "everywhere", "passing"]

EPSILON = 1e-5
"""What batch norms add to the variance where nothing tells: the default of torch."""


def passing(layer: Layer) -> dict[str, tuple[Constant, ...]]:
    """Set a square layer, or a batch norm in evaluation, such that it returns its input.

    Parameters
    ----------
    layer : Layer

    Returns
    -------
    dict of str to tuple of Constant
        By the names of its tensors.
    """
    found: dict[str, tuple[Constant, ...]] = {}
    for tensor in layer.tensors:
        if tensor.role == "num_batches_tracked":
            continue
        if layer.kind == "batchnorm":
            scale = (1 + (layer.epsilon or EPSILON)) ** 0.5
            found[tensor.name] = everywhere(tensor, {"weight": scale, "running_var": 1.0}.get(tensor.role, 0.0))
        elif tensor.role == "weight":
            found[tensor.name] = (*everywhere(tensor), Constant(_whole(tensor), 1.0, diagonal=True))
        else:
            found[tensor.name] = everywhere(tensor)
    return found


def everywhere(tensor: Tensor, value: float = 0.0) -> tuple[Constant, ...]:
    """Set all of a tensor to one value."""
    return (Constant(_whole(tensor), value),)


def _whole(tensor: Tensor) -> Box:
    return Box((0,) * len(tensor.shape), tensor.shape)
