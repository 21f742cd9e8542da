"""What does a gate multiply its input by? Asked of the gate, on random input or on channels of given means."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn

from transfer.tracing.copies import random_copy
from transfer.tracing.examples import call, examples, is_close
from transfer.tracing.isolation import careful
from transfer.weights.reading import Reader

__all__ = ["constant_factor", "multiplied_by"]

_SMALL = 1e-4
"""A channel smaller than this is asked about as if it were this large."""


@careful(None)
def constant_factor(target: nn.Module, path: str, names: Collection[str]) -> float | None:
    """Find what a part of a network multiplies its input by once some of its tensors are zero.

    Parameters
    ----------
    target : nn.Module
        Not changed; may be on the meta device.
    path : str
        Of the part.
    names : collection of str
        Tensors of the part, by their names in the target.

    Returns
    -------
    float or None
        None if it does not multiply by a positive number, or could not be called on the usual inputs.
    """
    part = random_copy(target.get_submodule(path))
    if part is None:
        return None
    state = part.state_dict(keep_vars=True)
    for name in names:
        state[name[len(path) + 1 :]].data.zero_()
    for example in examples(part):
        result = call(part, example)
        if result is not None and result.shape == example.shape:
            factor = float((result * example).sum() / example.square().sum())
            return factor if factor > 0.01 and is_close(result, factor * example) else None
    return None


@careful(None)
@torch.no_grad()
def multiplied_by(source: nn.Module, path: str, read: Reader, means: torch.Tensor) -> torch.Tensor | None:
    """Ask a gate what it multiplies channels of given means by, everywhere alike.

    Parameters
    ----------
    source : nn.Module
        Not changed; may be on the meta device.
    path : str
        Of the gate.
    read : Reader
        Of the source's weights.
    means : Tensor of shape (n,)

    Returns
    -------
    Tensor of shape (n,) or None
        None if it cannot be called so, or does something else to them.
    """
    part = random_copy(source.get_submodule(path))
    if part is None:
        return None
    for name, tensor in part.state_dict(keep_vars=True).items():
        tensor.data.copy_(read(f"{path}.{name}"))
    nudged = torch.where(means.abs() < _SMALL, torch.full_like(means, _SMALL), means)
    n_ones = max((tensor.dim() - 2 for tensor in part.parameters() if tensor.dim() > 2), default=2)
    places = torch.tensor([0.5, 1.5]).view(1, 1, 2, *(1,) * (n_ones - 1))
    image = (nudged.view(1, -1, *(1,) * n_ones) * places).expand(1, -1, *(2,) * n_ones)
    result = call(part, image)
    if result is None or result.shape != image.shape:
        return None
    factors = (result / image).flatten(2)[0]
    if not bool(factors.isfinite().all()) or not is_close(
        factors, factors.mean(1, keepdim=True).expand_as(factors)
    ):
        return None  # it does not multiply: it adds, say
    return factors.mean(1)
