"""Squeeze-excite branches that the target has not: what they do on average goes into the weights beside them.

A gate multiplies each channel by what it makes of the channels' means. The batch norm before it tells these means,
so its average effect is known from weights alone but for the activations, which no header tells. Of the usual ones
those are taken that explain the running means of the batch norm behind the gate best.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from transfer.channels.gates import Gate, lone_gates
from transfer.narrowing.moments import ACTIVATIONS, Moments, activated, explained_share, of_role

if TYPE_CHECKING:
    from transfer.planning.planned import TransferPlan
    from transfer.structure.records import Layer
    from transfer.weights.reading import Index, Reader

__all__ = ["Ungated"]

_INSIDE = ("relu", "silu", "hardswish")
_GATES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sigmoid": torch.sigmoid,
    "hardsigmoid": functional.hardsigmoid,
}
_LEAST_EXPLAINED = 0.5
"""Part of the variance of the running means that has to be explained."""


class Ungated:
    """Reads tensors, weights as they are once gates that the target lacks are taken as constant.

    Parameters
    ----------
    read : callable
        Returns the tensor of a name.
    planned : TransferPlan
    """

    def __init__(self, read: Reader, planned: TransferPlan) -> None:
        self._read = read
        self._factors: dict[str, tuple[int, torch.Tensor]] = {}
        pairs = planned.alignment.pairs
        used = {pair.source.path for pair in pairs}
        for gate in lone_gates(planned.alignment.source, used):
            beside = gate.reader or gate.norm
            if beside is None or beside.path not in used or (factors := _average(gate, read)) is None:
                continue
            for tensor in beside.tensors:
                if tensor.role == "weight" or (tensor.role == "bias" and gate.reader is None):
                    self._factors[tensor.name] = (1 if gate.reader and len(tensor.shape) > 1 else 0), factors

    @property
    def names(self) -> frozenset[str]:
        """Names of the tensors that differ from what they were."""
        return frozenset(self._factors)

    def __call__(self, name: str, index: Index | None = None) -> torch.Tensor:
        """Return a tensor, or a part of it."""
        if name not in self._factors:
            return self._read(name) if index is None else self._read(name, index)
        dim, factors = self._factors[name]
        value = self._read(name)
        shape = [-1 if d == dim else 1 for d in range(value.dim())]
        value = value * factors.to(value).view(shape)
        return value if index is None else value[index[: value.dim()]]


@torch.no_grad()
def _average(gate: Gate, read: Reader) -> torch.Tensor | None:
    """Return what a gate multiplies each channel by on average; None if that cannot be told."""
    if gate.norm is None or not {"weight", "bias"} <= {tensor.role for tensor in gate.norm.tensors}:
        return None
    given = Moments(of_role(gate.norm, "bias", read), of_role(gate.norm, "weight", read).square())
    layers = [_matrix_and_bias(layer, read) for layer in (gate.squeeze, gate.excite)]
    sums = wanted = None
    if gate.reader is not None and gate.reader_norm is not None:
        weight = of_role(gate.reader, "weight", read)
        if weight.shape[1] == len(given.mean):
            sums = weight.flatten(2).sum(2) if weight.dim() > 2 else weight
            wanted = of_role(gate.reader_norm, "running_mean", read)
    best, explained = None, _LEAST_EXPLAINED
    for outside, inside, last in product(ACTIVATIONS, _INSIDE, _GATES):
        mean = activated(given, outside).mean
        hidden = ACTIVATIONS[inside](layers[0][0] @ mean + layers[0][1])
        factors = _GATES[last](layers[1][0] @ hidden + layers[1][1])
        if sums is None or wanted is None:  # nothing to tell them apart by: the first, as published
            return factors if bool(factors.isfinite().all()) else None
        share = explained_share(wanted, sums @ (factors * mean))
        if share > explained:
            best, explained = factors, share
    return best


def _matrix_and_bias(layer: Layer, read: Reader) -> tuple[torch.Tensor, torch.Tensor]:
    matrix = of_role(layer, "weight", read).flatten(1)
    has_bias = any(tensor.role == "bias" for tensor in layer.tensors)
    return matrix, of_role(layer, "bias", read) if has_bias else torch.zeros(len(matrix))
