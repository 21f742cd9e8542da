"""What a function of torch uses its tensors as: weight, bias, mean and variance.

Modules tell by the names of their parameters. Code that calls functions on parameters of its own may call them
anything, or keep them in a list.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import cache
from types import FunctionType
from typing import Any

import torch

__all__ = ["FACTORS", "roles_of"]

FACTORS = {"addmm": 2, "matmul": 1, "mm": 1, "bmm": 1, "__matmul__": 1}
"""Functions that take a matrix with its inputs first, and in which place."""

_ROLES = ("weight", "bias", "running_mean", "running_var")

_BUILTIN = frozenset(
    ("linear", "prelu", *(f"{name}{n}d" for name in ("conv", "conv_transpose") for n in (1, 2, 3)))
)
"""Functions without a signature; they take what they are applied to, weight and bias."""


def roles_of(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Tell which of the arguments are weight, bias and statistics of a layer; none if it is no layer.

    Parameters
    ----------
    func : callable
        Of torch.
    args, kwargs
        What it is called with.

    Returns
    -------
    dict of str to Tensor
        By role.
    """
    names = _names_of(func)
    if not names:
        return {}
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    return {role: value for role in _ROLES if isinstance(value := given.get(role), torch.Tensor)}


@cache
def _names_of(func: Any) -> tuple[str, ...]:
    """Names of the arguments of a function that is a layer."""
    if getattr(func, "__name__", "") in _BUILTIN:
        return ("input", "weight", "bias")
    if not isinstance(func, FunctionType) or func.__module__ != "torch.nn.functional":
        return ()
    names = tuple(inspect.signature(func).parameters)
    return names if "weight" in names else ()
