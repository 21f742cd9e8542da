"""Squeeze-excite branches that the target has not: what they do on average goes into the weights beside them.

A gate multiplies each channel by what it makes of the channels' means. The batch norm before it tells these means,
so its average effect is known from weights alone but for the activations, which no header tells. Of the usual ones
those are taken that explain the running means of the batch norm behind the gate best, if they do so far better than
no gate would. Where the source is a module it is asked whether the branch is a gate at all, and what it makes of
the means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from transfer.channels.gates import Gate, lone_gates
from transfer.narrowing.moments import ACTIVATIONS, Moments, activated, explained_share, of_role

if TYPE_CHECKING:
    from torch import nn

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

_MOST_LEFT = 0.5
"""What a gate leaves unexplained, relative to what no gate does."""

Average = Callable[[torch.Tensor], torch.Tensor | None]
"""What a gate multiplies channels of some means by; None if that cannot be told."""


class Ungated:
    """Reads tensors, weights as they are once gates that the target lacks are taken as constant.

    Parameters
    ----------
    read : callable
        Returns the tensor of a name.
    planned : TransferPlan
    module : nn.Module or None
        The source, where there is one; may be on the meta device.
    """

    def __init__(self, read: Reader, planned: TransferPlan, module: nn.Module | None) -> None:
        self._read = read
        self._factors: dict[str, tuple[int, torch.Tensor]] = {}
        used = planned.read_layers()
        found = lone_gates(planned.alignment.source, used, used)
        for gate in found:
            is_guess = module is None and gate.excite.wiring is None
            side = gate.reader if is_guess else gate.side
            if side is None or side.path not in used:
                continue
            averages = _usual_averages(gate, read) if module is None else _own_average(gate, module, read)
            factors = _told_by_norms(gate, side, averages, read)
            if factors is None:
                continue
            for tensor in side.tensors:
                if tensor.role == "weight" or (tensor.role == "bias" and side is gate.norm):
                    self._factors[tensor.name] = (1 if side is gate.reader else 0), factors

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
def _told_by_norms(gate: Gate, side: Layer, averages: Sequence[Average], read: Reader) -> torch.Tensor | None:
    """Return what a gate multiplies each channel by on average; None if that cannot be told."""
    if gate.norm is None or not {"weight", "bias"} <= {tensor.role for tensor in gate.norm.tensors}:
        return None
    given = Moments(of_role(gate.norm, "bias", read), of_role(gate.norm, "weight", read).square())
    if side is gate.norm:  # whose result the gate reads as it is
        return averages[0](given.mean) if len(averages) == 1 else None
    if gate.reader is None or gate.reader_norm is None:
        return None
    weight = of_role(gate.reader, "weight", read)
    sums = weight.flatten(2).sum(2) if weight.dim() > 2 else weight
    wanted = of_role(gate.reader_norm, "running_mean", read)
    if sums.shape != (len(wanted), len(given.mean)):
        return None
    means = [activated(given, name).mean for name in ACTIVATIONS]
    without = max(explained_share(wanted, sums @ mean) for mean in means)
    best, explained = None, max(_LEAST_EXPLAINED, 1 - _MOST_LEFT * (1 - without))
    for mean, average in product(means, averages):
        factors = average(mean)
        if factors is not None and (share := explained_share(wanted, sums @ (factors * mean))) > explained:
            best, explained = factors, share
    return best


def _usual_averages(gate: Gate, read: Reader) -> list[Average]:
    """Return what gates of the usual activations would multiply by."""
    (first, shift), (second, last_shift) = (_matrix_and_bias(layer, read) for layer in (gate.squeeze, gate.excite))

    def average(inside: str, last: str) -> Average:
        return lambda mean: _GATES[last](second @ ACTIVATIONS[inside](first @ mean + shift) + last_shift)

    return [average(inside, last) for inside, last in product(_INSIDE, _GATES)]


def _own_average(gate: Gate, module: nn.Module, read: Reader) -> list[Average]:
    """Return what the gate itself multiplies by; nothing if it is none."""
    from transfer.growth.gate_factors import constant_factor, multiplied_by

    if constant_factor(module, gate.path, [tensor.name for tensor in gate.excite.tensors]) is None:
        return []
    return [lambda mean: multiplied_by(module, gate.path, read, mean)]


def _matrix_and_bias(layer: Layer, read: Reader) -> tuple[torch.Tensor, torch.Tensor]:
    matrix = of_role(layer, "weight", read).flatten(1)
    has_bias = any(tensor.role == "bias" for tensor in layer.tensors)
    return matrix, of_role(layer, "bias", read) if has_bias else torch.zeros_like(matrix[:, 0])
