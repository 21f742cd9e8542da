"""The source as a network that can be run: the caller's, or a known module with the weights of a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from transfer.errors import ZooError
from transfer.execution.trials import RefusalError
from transfer.structure.headers import header_of
from transfer.tracing.copies import bare_copy
from transfer.tracing.isolation import isolated

if TYPE_CHECKING:
    from transfer.structure.records import Architecture
    from transfer.weights.checkpoint import Checkpoint
    from transfer.weights.reading import Reader

__all__ = ["embodied"]

_MOST_CAST = 100_000_000
"""Weights of another type than the module's are cast, which takes memory; no more elements than this."""


def embodied(
    network: nn.Module | Checkpoint | Mapping[str, torch.Tensor],
    structure: nn.Module | Architecture | Checkpoint | Mapping[str, torch.Tensor],
    target: nn.Module,
    read: Reader,
) -> tuple[nn.Module, str]:
    """Return the source of a transfer as a network with its weights.

    Parameters
    ----------
    network : nn.Module, Checkpoint or state dict
        The source; a module is returned as it is.
    structure : nn.Module, Architecture, Checkpoint or state dict
        What its structure was taken from.
    target : nn.Module
        Where its names and shapes are those of the source, its code will do for that.
    read : Reader
        Of the source's weights; the network holds as long as they are open.

    Returns
    -------
    nn.Module, str
        The network, and what is to be known of it; mostly empty.

    Raises
    ------
    RefusalError
        If no module is known, or it cannot be given the weights.
    """
    if isinstance(network, nn.Module):
        return network, ""
    place = next((x.device for x in target.parameters()), torch.device("cpu"))
    if isinstance(structure, nn.Module):
        return _filled(structure, read, place), ""
    shapes = [{name: found.shape for name, found in header_of(one).items()} for one in (network, target)]
    if shapes[0] == shapes[1]:
        return _filled(target, read, place), "the source's tensors were run in the target's own code"
    raise RefusalError(
        "the source is tensors without a module to run them in (in Python: source_structure=, on the command line: "
        "-s net.py:Net --weights FILE)"
    )


def _filled(structure: nn.Module, read: Reader, place: torch.device) -> nn.Module:
    """Copy a module with the weights of a reader, which are not copied if they are of its types."""
    memo: dict[int, torch.Tensor] = {}
    n_cast = 0
    try:
        for name, tensor in structure.state_dict(keep_vars=True).items():
            if not isinstance(tensor, torch.Tensor) or id(tensor) in memo:
                continue
            value = read(name)
            n_cast += value.numel() if value.dtype != tensor.dtype else 0
            if n_cast > _MOST_CAST:
                raise RefusalError("the source is too large to be cast to the types of its module")
            value = value.to(place, tensor.dtype)
            memo[id(tensor)] = nn.Parameter(value, False) if isinstance(tensor, nn.Parameter) else value
        with isolated(structure):
            made = bare_copy(structure, memo)
    except (ZooError, RuntimeError) as error:
        raise RefusalError(f"the source's module cannot be given its weights: {error}") from error
    except Exception as error:  # its own way to copy itself
        raise RefusalError(f"the source's module cannot be copied: {type(error).__name__}") from error
    for name, buffer in made.named_buffers():
        if buffer.is_meta:
            raise RefusalError(
                f"the source's module has no values for {name!r}, which are not in its weights; build it on the CPU"
            )
    return made.to(place)
