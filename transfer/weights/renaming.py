"""A weights file under the names of the module that it is of.

Training scripts wrap the module, so that all names begin with ``module.``; tied tensors are saved under one of
their names; batch norms of old files do not count batches.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from transfer.weights.checkpoint import Checkpoint
from transfer.weights.stored import LoadedTensor, Stored

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["named_like"]

_COUNTER = "num_batches_tracked"


def named_like(checkpoint: Checkpoint, module: nn.Module) -> tuple[Checkpoint, str]:
    """Give the tensors of a file the names that a module has for them.

    Parameters
    ----------
    checkpoint : Checkpoint
    module : nn.Module
        Its parameters may be on the meta device.

    Returns
    -------
    Checkpoint
        With every name of the module, in its order; the one given if that cannot be.
    str
        The first tensor of the module that the file does not have; empty if it has all.
    """
    import torch

    state = module.state_dict(keep_vars=True)
    tensors = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    alike: dict[int, list[str]] = {}
    for name, tensor in tensors.items():
        alike.setdefault(id(tensor), []).append(name)
    prefix = _common_prefix(checkpoint, tensors)
    held: dict[str, str | Stored] = {}
    for name, tensor in tensors.items():
        names = [prefix + other for other in (name, *alike[id(tensor)])]
        found = next((other for other in names if other in checkpoint.header), None)
        if found is not None and checkpoint.header[found].shape == tuple(tensor.shape):
            held[name] = found
        elif found is None and name.rpartition(".")[2] == _COUNTER:
            held[name] = LoadedTensor((), "int64", lambda: torch.zeros((), dtype=torch.int64))
        else:
            return checkpoint, name
    return checkpoint.holding(held), ""


def _common_prefix(checkpoint: Checkpoint, tensors: dict[str, torch.Tensor]) -> str:
    """Find what stands before the names of the module in those of the file; empty where nothing does."""
    if not checkpoint.header or any(name in checkpoint.header for name in tensors):
        return ""
    first = next(iter(checkpoint.header))
    prefixes = (first[: len(first) - len(name)] for name in tensors if first.endswith("." + name))
    return next((each for each in prefixes if all(name.startswith(each) for name in checkpoint.header)), "")
