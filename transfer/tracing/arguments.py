"""What a run uses tensors of a network as: weight, bias, mean and variance of which layer.

Modules tell by the names of their parameters. Code that calls functions on parameters of its own, or writes a norm
by hand, may call them anything, or keep them in a list.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from types import FunctionType
from typing import Any

import torch

__all__ = ["SCALINGS", "SUMS", "Uses", "roles_of"]

_FACTORS = {"addmm": 2, "matmul": 1, "mm": 1, "bmm": 1, "__matmul__": 1}
"""Functions that take a matrix with its inputs first, and in which place."""

_ROLES = ("weight", "bias", "running_mean", "running_var")

_BUILTIN = frozenset(
    ("linear", "prelu", *(f"{name}{n}d" for name in ("conv", "conv_transpose") for n in (1, 2, 3)))
)
"""Functions without a signature; they take what they are applied to, weight and bias."""

SUMS = frozenset(("add", "radd", "iadd"))
SCALINGS = frozenset(("mul", "rmul", "imul", "multiply"))
"""Functions whose arguments may be written in any order."""

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
        self._given_out: set[tuple[str, str]] = set()
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
        if "weight" in tensors and "weight" not in roles:
            roles = {}  # a weight that is made of others
        place = _FACTORS.get(name, len(args))
        factor = args[place] if place < len(args) else None
        product = scaled = vector = ""
        if isinstance(factor, torch.Tensor) and factor.ndim > 1 and id(factor) in self._names:
            product = self._names[id(factor)]
            if product not in self.called:  # else a tied one, turned round
                self.input_first.add(product)
            roles = {"weight": product}
            if name == "addmm" and not kwargs and (bias := self._bias_of(args[0], made)):
                roles["bias"] = bias
        elif not tensors and not kwargs:
            roles, scaled, vector = self._written_out(name.strip("_"), args, made)
        # in place, something may become something else
        for known, value in ((self._products, product), (self._scaled, scaled), (self._vectors, vector)):
            known.pop(id(made), None)
            if value:
                known[id(made)] = value
        anchor = next(iter(roles.values()), "")
        for role, tensor_name in roles.items():
            if tensor_name not in self.called and (anchor, role) not in self._given_out:
                self.called[tensor_name] = anchor, role
                self._given_out.add((anchor, role))

    def _written_out(self, name: str, args: Sequence[Any], made: torch.Tensor) -> tuple[dict[str, str], str, str]:
        """Find what is added to something scaled or multiplied by a matrix: its bias.

        Returns
        -------
        roles : dict of str to str
        scaled : str
            Name of the vector that the result was scaled by; empty if by none.
        vector : str
            Name of the vector that the result is a view of; empty if of none.
        """
        if name in self._moves or name in _KEEPS:
            first = args[0] if args else None
            return {}, self._scaled.get(id(first), ""), self._vector(first)
        for one, other, vector in self._with_vectors(args):
            if name in SCALINGS:
                return {}, vector, ""
            if name in SUMS and (weight := self._products.get(id(one))) and self._bias_of(other, made):
                return {"weight": weight, "bias": vector}, "", ""
            if name in SUMS and (weight := self._norm_of(one, vector)):
                return {"weight": weight, "bias": vector}, "", ""
        return {}, "", ""

    def _bias_of(self, value: Any, product: torch.Tensor) -> str:
        """Name of a vector with a number for each output of a product; empty for anything else."""
        name = self._vector(value)
        return name if name and self._shapes[name] == product.shape[-1:] else ""

    def _norm_of(self, scaled: torch.Tensor, vector: str) -> str:
        """Name of the scale of a norm that a vector is the shift of: beside it, and of its shape; not a token."""
        scale = self._scaled.get(id(scaled), "")
        are_beside = scale.rpartition(".")[0] == vector.rpartition(".")[0]
        return scale if are_beside and self._shapes.get(scale) == self._shapes[vector] else ""

    def _with_vectors(self, args: Sequence[Any]) -> Iterator[tuple[torch.Tensor, Any, str]]:
        """Yield something, what it is multiplied by or what is added to it, and what vector that is."""
        for one, other in (args[:2], args[1::-1]) if len(args) == 2 else ():
            if isinstance(one, torch.Tensor) and not self._vector(one) and (vector := self._vector(other)):
                yield one, other, vector

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


@lru_cache(maxsize=1024)
def _names_of(func: Any) -> tuple[str, ...]:
    """Names of the arguments of a function that is a layer."""
    if getattr(func, "__name__", "") in _BUILTIN:
        return ("input", "weight", "bias")
    if not isinstance(func, FunctionType) or func.__module__ != "torch.nn.functional":
        return ()
    names = tuple(inspect.signature(func).parameters)
    return names if "weight" in names else ()
