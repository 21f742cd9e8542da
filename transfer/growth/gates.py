"""Squeeze-excite branches that the source has not: they start by passing every channel alike.

With its last layer at zero a branch multiplies by a constant, one half where the gate is a sigmoid. What reads the
channels is divided by it, so the block computes what it did, and the branch is where it learns fastest.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from transfer.alignment.matching import Alignment
from transfer.channels.gates import gates_of, lone_gates
from transfer.growth.identity import everywhere
from transfer.regions import Constant

if TYPE_CHECKING:
    from torch import nn

__all__ = ["open_gates"]


def open_gates(
    alignment: Alignment, module: nn.Module | None
) -> tuple[Alignment, dict[str, tuple[Constant, ...]], dict[str, float]]:
    """Decide how gates start that only the target has.

    Parameters
    ----------
    alignment : Alignment
    module : nn.Module or None
        The target, to ask what its gates multiply by, and what reads it; without it none is set.

    Returns
    -------
    alignment : Alignment
        Without the pairs that feed a gate from something else, a neighbouring layer that is as wide.
    constants : dict of str to tuple of Constant
        What tensors are set to, by their names.
    factors : dict of str to float
        What tensors that are fed are multiplied by.
    """
    if module is None:
        return alignment, {}, {}
    theirs = {layer.path for gate in gates_of(alignment.source) for layer in (gate.squeeze, gate.excite)}
    by_gates = {pair.target.path for pair in alignment.pairs if pair.source.path in theirs}
    fed = {pair.target.path for pair in alignment.pairs}
    found = lone_gates(alignment.target, by_gates, fed)
    constants: dict[str, tuple[Constant, ...]] = {}
    factors: dict[str, float] = {}
    if not found:
        return alignment, constants, factors
    from transfer.growth.gate_factors import constant_factor

    opened: set[str] = set()
    for gate in found:
        constant = constant_factor(module, gate.path, [tensor.name for tensor in gate.excite.tensors])
        if constant is None:
            continue
        opened |= {gate.squeeze.path, gate.excite.path}
        side = gate.side
        if side is None or side.path not in fed:
            continue
        roles = ("weight",) if side is gate.reader else ("weight", "bias")
        factors |= {tensor.name: 1 / constant for tensor in side.tensors if tensor.role in roles}
        for tensor in gate.excite.tensors:
            constants[tensor.name] = everywhere(tensor)
    pairs = tuple(pair for pair in alignment.pairs if pair.target.path not in opened)
    return replace(alignment, pairs=pairs), constants, factors
