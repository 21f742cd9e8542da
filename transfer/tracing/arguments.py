"""What a run uses tensors of a network as: weight, bias, mean and variance of which layer.

Modules tell by the names of their parameters. Code that calls functions on parameters of its own, or writes a norm
by hand, may call them anything, or keep them in a list.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from types import FunctionType
from typing import Any

import torch

__all__ = ["Uses"]

_FACTORS = {"addmm": 2, "matmul": 1, "mm": 1, "bmm": 1, "__matmul__": 1}
"""Functions that take a matrix with its inputs first, and in which place."""

_ROLES = ("weight", "bias", "running_mean", "running_var")

_BUILTIN = frozenset(
    ("linear", "prelu", *(f"{name}{n}d" for name in ("conv", "conv_transpose") for n in (1, 2, 3)))
)
"""Functions without a signature; they take what they are applied to, weight and bias."""

_SUMS = frozenset(("add", "radd", "iadd"))
_SCALINGS = frozenset(("mul", "rmul", "imul", "multiply"))
_KEEPS = frozenset(("div", "truediv", "itruediv", "getitem"))
"""What may be done to something scaled before it is shifted, besides moving it."""


class Uses:
    """Notes, function by function, what tensors of a network are used as.

    Parameters
    ----------
    names : mapping of int to str
        Names of the network's tensors by their identity.
    moves : collection of str
        Names of functions that give the same values.

    Attributes
    ----------
    input_first : set of str
        Weights that were used with their inputs in the first dimension.
    called : dict of str to (str, str)
        As part of which layer's what tensors were first used: the name of its weight, and a role.
    """

    def __init__(self, names: Mapping[int, str], moves: frozenset[str]) -> None:
        self.input_first: set[str] = set()
        self.called: dict[str, tuple[str, str]] = {}
        self._names, self._moves = names, moves
        self._vectors: dict[int, str] = {}  # views of vectors
        self._products: dict[int, str] = {}  # what a matrix, or a vector, was multiplied into
        self._scaled: dict[int, str] = {}
        self._shapes: dict[str, torch.Size] = {}

    def note(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], made: torch.Tensor) -> None:
        """Note what a function of torch takes.

        Parameters
        ----------
        func : callable
        args, kwargs
            What it is called with.
        made : Tensor
            What it gave; it has to live as long as this.
        """
        name = getattr(func, "__name__", "")
        tensors = roles_of(func, args, kwargs)
        roles = {role: self._names[id(tensor)] for role, tensor in tensors.items() if id(tensor) in self._names}
        place = _FACTORS.get(name, len(args))
        if place < len(args) and (weight := self._names.get(id(args[place]))) is not None:
            if weight not in self.called:  # else a tied one, turned round
                self.input_first.add(weight)
            self._products[id(made)] = weight
            roles = {"weight": weight}
            if name == "addmm" and (bias := self._vector(args[0])):
                roles["bias"] = bias
        elif not roles:
            roles = self._written_out(name.strip("_"), args, made)
        anchor = next(iter(roles.values()), "")
        for role, tensor_name in roles.items():
            self.called.setdefault(tensor_name, (anchor, role))

    def _written_out(self, name: str, args: Sequence[Any], made: torch.Tensor) -> dict[str, str]:
        """Note scales and what is added to something scaled or multiplied by a matrix: its bias."""
        if name in self._moves or name in _KEEPS:
            if args and (vector := self._vector(args[0])):
                self._vectors[id(made)] = vector
            elif args and id(args[0]) in self._scaled:
                self._scaled[id(made)] = self._scaled[id(args[0])]
            return {}
        for one, vector in self._with_vectors(args):
            if name in _SCALINGS:
                self._scaled[id(made)] = vector
            elif name in _SUMS and (weight := self._products.get(id(one)) or self._norm_of(one, vector)):
                return {"weight": weight, "bias": vector}
        return {}

    def _norm_of(self, scaled: torch.Tensor, vector: str) -> str:
        """Name of the scale of a norm that a vector is the shift of: beside it, and of its shape; not a token."""
        scale = self._scaled.get(id(scaled), "")
        are_beside = scale.rpartition(".")[0] == vector.rpartition(".")[0]
        return scale if are_beside and self._shapes.get(scale) == self._shapes[vector] else ""

    def _with_vectors(self, args: Sequence[Any]) -> Iterator[tuple[torch.Tensor, str]]:
        """Yield something with the vector that it is multiplied by, or that is added to it."""
        for one, other in (args[:2], args[1::-1]) if len(args) == 2 else ():
            if isinstance(one, torch.Tensor) and not self._vector(one) and (vector := self._vector(other)):
                yield one, vector

    def _vector(self, value: Any) -> str:
        """Name of a vector of the network; empty for anything else."""
        if not isinstance(value, torch.Tensor):
            return ""
        if id(value) in self._names and 1 < value.numel() == max(value.shape, default=0):
            self._shapes[self._names[id(value)]] = value.shape
            return self._names[id(value)]
        return self._vectors.get(id(value), "")


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
