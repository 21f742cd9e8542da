"""Squeeze-excite branches that the source has not: they start by passing every channel alike.

With its last layer at zero a branch multiplies by a constant, one half where the gate is a sigmoid. What reads the
channels is divided by it, so the block computes what it did, and the branch is where it learns fastest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from transfer.alignment.matching import Alignment
from transfer.channels.gates import lone_gates
from transfer.regions import Box, Constant
from transfer.structure.records import Layer

if TYPE_CHECKING:
    from torch import nn

__all__ = ["open_gates"]


def open_gates(
    alignment: Alignment, module: nn.Module | None
) -> tuple[dict[str, tuple[Constant, ...]], dict[str, float]]:
    """Decide how gates start that only the target has.

    Parameters
    ----------
    alignment : Alignment
    module : nn.Module or None
        The target, to ask what its gates multiply by; without it none is set.

    Returns
    -------
    constants : dict of str to tuple of Constant
        What tensors are set to, by their names.
    factors : dict of str to float
        What tensors that are fed are multiplied by.
    """
    constants: dict[str, tuple[Constant, ...]] = {}
    factors: dict[str, float] = {}
    fed = {pair.target.path for pair in alignment.pairs}
    for gate in lone_gates(alignment.target, fed) if module is not None else ():
        scaled = _scaled_by(gate.reader, ("weight",)) if gate.reader else _scaled_by(gate.norm, ("weight", "bias"))
        made_up = gate.reader or gate.norm
        if module is None or made_up is None or made_up.path not in fed:
            continue
        names = [tensor.name for tensor in gate.excite.tensors]
        if (constant := _constant(module, gate.path, names)) is None:
            continue
        factors |= dict.fromkeys(scaled, 1 / constant)
        for tensor in gate.excite.tensors:
            constants[tensor.name] = (Constant(Box((0,) * len(tensor.shape), tensor.shape)),)
    return constants, factors


def _scaled_by(layer: Layer | None, roles: tuple[str, ...]) -> list[str]:
    return [tensor.name for tensor in layer.tensors if tensor.role in roles] if layer else []


def _constant(module: nn.Module, path: str, names: list[str]) -> float | None:
    from transfer.growth.probing import constant_factor

    return constant_factor(module, path, names)
