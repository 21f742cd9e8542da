"""What functions of torch give on the meta device, remembered by what they are given.

Without values a function gives nothing but a shape, yet torch finds that out by rules written in Python, each time:
a batch norm takes milliseconds. Networks repeat their blocks, and each other's. So what came out is remembered, and
made again as an empty tensor. The first time every function runs, and what goes wrong goes wrong each time.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

import torch
from torch import nn

__all__ = ["recalled"]

_PURE = {
    *("batch_norm", "group_norm", "instance_norm", "layer_norm", "rms_norm", "normalize", "norm"),
    *("linear", "conv1d", "conv2d", "conv3d", "conv_transpose2d", "matmul", "bmm", "addmm", "addcmul", "einsum"),
    *("add", "sub", "mul", "div", "true_divide", "neg", "exp", "sin", "cos", "pow", "rsqrt", "mean", "sum"),
    *("lstm", "gru", "scaled_dot_product_attention", "softmax", "dropout"),
    *("cat", "roll", "pad", "clamp", "interpolate"),
    *("gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "relu", "relu6", "sigmoid", "silu", "tanh"),
    *("adaptive_avg_pool2d", "adaptive_max_pool2d", "avg_pool2d", "boolean_dispatch", "max_pool2d"),
}
"""Names of functions whose result's shape follows from what they are given, and that take long."""

_MOST = 1 << 16
"""Results that are remembered."""

_Made = tuple[tuple[int, ...], tuple[int, ...], torch.dtype] | int
"""Shape, strides and type of a result; or which of the tensors that a function is given it returns."""

_KNOWN: dict[Hashable, tuple[bool, list[_Made]]] = {}
"""Results, and whether they are the only one."""


class _UnknownError(Exception):
    """Something that a result may depend on otherwise."""


def recalled(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Do a function, or make what it gave for the like.

    Parameters
    ----------
    func : callable
        Of torch.
    args, kwargs
        What it is called with.
    """
    if getattr(func, "__name__", "") not in _PURE or torch.is_grad_enabled():
        return func(*args, **kwargs)
    tensors: list[torch.Tensor] = []
    try:
        key = (
            func,
            _signature(args, tensors),
            _signature(tuple(kwargs.items()), tensors),
            torch.get_default_dtype(),
        )
        known = _KNOWN.get(key)
    except (_UnknownError, TypeError):  # a TypeError where it cannot be a key
        return func(*args, **kwargs)
    if known is None:
        result = func(*args, **kwargs)
        known = _described(result, tensors)
        if known is not None and len(_KNOWN) < _MOST:
            _KNOWN[key] = known
        return result
    results = tuple(tensors[one] if isinstance(one, int) else _empty(*one) for one in known[1])
    return results[0] if known[0] else results


def _empty(shape: tuple[int, ...], strides: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
    return torch.empty_strided(shape, strides, dtype=dtype, device="meta")


def _signature(value: Any, tensors: list[torch.Tensor]) -> Hashable:
    """Say what of an argument a result may depend on; its tensors are added to a list."""
    kind = type(value)
    if kind is torch.Tensor or kind is nn.Parameter:
        if not _is_plain(value):
            raise _UnknownError
        tensors.append(value)
        return value.shape, value.stride(), value.dtype
    if kind is tuple or kind is list or kind is torch.Size:
        return tuple([_signature(item, tensors) for item in value])
    if isinstance(value, torch.Tensor):
        raise _UnknownError
    return kind, value


def _is_plain(tensor: torch.Tensor) -> bool:
    return tensor.is_meta and tensor.layout == torch.strided and not tensor.dtype.is_complex


def _described(result: Any, tensors: list[torch.Tensor]) -> tuple[bool, list[_Made]] | None:
    """Say how to make a result again; None where it is not one plain tensor, or a tuple of such."""
    is_one = isinstance(result, torch.Tensor)
    made: list[_Made] = []
    for one in (result,) if is_one else result if type(result) is tuple else (None,):
        if type(one) is not torch.Tensor or not _is_plain(one):
            return None
        place = next((i for i, tensor in enumerate(tensors) if tensor is one), None)
        made.append((tuple(one.shape), one.stride(), one.dtype) if place is None else place)
    return is_one, made
