"""What operations do besides their weights: strides, padding, groups, kinds of norms, activations, pooling.

Two networks of equal shapes that differ in one of these compute something else. Facts are short texts, the same
whether a library calls a function, a method or a module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

__all__ = ["fact_of"]

_ARGUMENTS = {
    "conv1d": ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    "conv2d": ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    "conv3d": ("input", "weight", "bias", "stride", "padding", "dilation", "groups"),
    "conv_transpose1d": ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation"),
    "conv_transpose2d": ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation"),
    "conv_transpose3d": ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation"),
    "embedding": (),
    "batch_norm": (),
    "group_norm": ("input", "num_groups"),
    "instance_norm": (),
    "layer_norm": (),
    "rms_norm": (),
    "celu": ("input", "alpha"),
    "elu": ("input", "alpha"),
    "gelu": ("input", "approximate"),
    "glu": ("input", "dim"),
    "hardsigmoid": (),
    "hardswish": (),
    "hardtanh": ("input", "min_val", "max_val"),
    "leaky_relu": ("input", "negative_slope"),
    "mish": (),
    "prelu": (),
    "relu": (),
    "relu6": (),
    "selu": (),
    "sigmoid": (),
    "silu": (),
    "softmax": (),
    "softplus": (),
    "tanh": (),
    "adaptive_avg_pool1d": ("input", "output_size"),
    "adaptive_avg_pool2d": ("input", "output_size"),
    "adaptive_max_pool2d": ("input", "output_size"),
    "avg_pool1d": ("input", "kernel_size", "stride", "padding"),
    "avg_pool2d": ("input", "kernel_size", "stride", "padding"),
    "avg_pool3d": ("input", "kernel_size", "stride", "padding"),
    "max_pool1d": ("input", "kernel_size", "stride", "padding"),
    "max_pool2d": ("input", "kernel_size", "stride", "padding"),
    "max_pool3d": ("input", "kernel_size", "stride", "padding"),
    "pad": ("input", "pad"),
    "interpolate": ("input", "size", "scale_factor", "mode", "align_corners"),
    "pixel_shuffle": ("input", "upscale_factor"),
    "scaled_dot_product_attention": (),
}
"""Functions that are noted, and their first arguments in order. What only moves elements is not noted."""

_SAME = {"boolean_dispatch": "max_pool2d", "relu_": "relu", "silu_": "silu", "swish": "silu"}

_NOT_TOLD = ("input", "weight", "bias", "size", "scale_factor")


def fact_of(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Describe an operation; empty for one that tells nothing.

    Parameters
    ----------
    func : callable
        Of torch.
    args, kwargs
        What it is called with.

    Returns
    -------
    str
        Such as ``conv2d stride=2 padding=1 groups=1``; what is equal along all dimensions is written once.
    """
    name = getattr(func, "__name__", "").strip("_")
    name = _SAME.get(name, name)
    names = _ARGUMENTS.get(name)
    if names is None:
        return ""
    given = {**dict(zip(names, args, strict=False)), **{key: kwargs[key] for key in names if key in kwargs}}
    told = [
        f"{key}={_text(value)}" for key, value in given.items() if key not in _NOT_TOLD and _is_told(key, value)
    ]
    return " ".join([name, *told])


def _is_told(key: str, value: Any) -> bool:
    """Leave out what is the default, which some code writes and other code does not."""
    if isinstance(value, torch.Tensor) or value is None:
        return False
    usual = {
        "stride": ("1", "()", "[]"),
        "padding": ("0",),
        "dilation": ("1",),
        "groups": ("1",),
        "output_padding": ("0",),
    }
    return _text(value) not in usual.get(key, ()) and not (key == "approximate" and value == "none")


def _text(value: Any) -> str:
    if isinstance(value, tuple | list) and len(set(map(str, value))) == 1:
        value = value[0]
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).replace(" ", "")
