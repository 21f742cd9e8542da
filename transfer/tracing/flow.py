"""Which channels every layer of a network reads, writes and scales."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from transfer.tracing.inputs import runnable
from transfer.tracing.isolation import careful
from transfer.tracing.shadows import Shadows

__all__ = ["Flow", "followed", "trace_flow"]


@dataclass(frozen=True, slots=True)
class Flow:
    """Numbers of channels; equal numbers belong together, 0 is unknown.

    Parameters
    ----------
    reads, writes : dict of str to list of int
        By the name of a weight that mixes channels: one number per input (of all groups), one per output.
    along : dict of str to list of int
        By the name of a vector, of a depthwise weight, or of tokens (last dimension): one number per channel.
    attended : frozenset of int
        Channels that the product of two activations sums over: of queries and keys.
    """

    reads: dict[str, list[int]]
    writes: dict[str, list[int]]
    along: dict[str, list[int]]
    attended: frozenset[int]


def followed(module: nn.Module) -> tuple[Shadows, dict[str, torch.Tensor]] | None:
    """Run a copy of a network under shadows; return them and its tensors by name, None if it could not be run."""
    found = runnable(module)
    if found is None:
        return None
    model, example = found
    state = dict(model.state_dict(keep_vars=True))
    shadows = Shadows(state, example.tensors())
    with torch.no_grad(), shadows:
        example(model)
    return shadows, state


@careful(None)
def trace_flow(module: nn.Module) -> Flow | None:
    """Follow the channels of a network.

    Parameters
    ----------
    module : nn.Module
        Not changed; may be on the meta device. No value of it is used.

    Returns
    -------
    Flow or None
        None if it could not be run: on what was given for it, or any of the usual inputs.
    """
    found = followed(module)
    if found is None:
        return None
    shadows, state = found
    kinds = shadows.reads, shadows.writes, shadows.along
    rows = iter(shadows.rows(*(row for kind in kinds for row in kind.values()), *shadows.attended))
    numbers = [{name: next(rows) for name in kind} for kind in kinds]
    seen = {id(state[name]): name for kind in kinds for name in kind}  # a tied tensor by one of its names
    known = {name: seen[id(tensor)] for name, tensor in state.items() if id(tensor) in seen}
    reads, writes, along = ({name: kind[at] for name, at in known.items() if at in kind} for kind in numbers)
    return Flow(reads, writes, along, frozenset(number for row in rows for number in row if number))
