"""Targets that can be written: real, dense tensors, each element stored by itself."""

from __future__ import annotations

import torch
from torch import nn

from transfer.errors import InputError

__all__ = ["writable_state"]


def writable_state(target: nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors of a target by name, all of which can be written.

    Raises
    ------
    InputError
        If one of them cannot.
    """
    state = {k: v for k, v in target.state_dict(keep_vars=True).items() if isinstance(v, torch.Tensor)}
    meta = [name for name, tensor in state.items() if tensor.is_meta]
    if meta:
        raise InputError(
            f"expected a target with real tensors, got {len(meta)} on the meta device (first: {meta[0]!r}); "
            "build it on a device, e.g. model.to_empty(device='cpu') and initialise it"
        )
    odd = next((name for name, tensor in state.items() if not _is_writable(tensor)), None)
    if odd is not None:
        raise InputError(
            f"expected dense tensors that may be written in the target, {odd!r} is sparse or was made in inference "
            "mode; build the target outside of torch.inference_mode(), with dense parameters"
        )
    shared = [name for name, tensor in state.items() if _is_expanded(tensor)]
    if shared:
        raise InputError(
            f"expected a target whose elements are stored one by one, {shared[0]!r} is expanded; "
            "make it contiguous first: parameter.data = parameter.data.contiguous()"
        )
    return state


def _is_writable(tensor: torch.Tensor) -> bool:
    return tensor.layout is torch.strided and (not tensor.is_inference() or torch.is_inference_mode_enabled())


def _is_expanded(tensor: torch.Tensor) -> bool:
    """Whether several elements share one place in memory."""
    is_plain = tensor.layout is torch.strided
    return is_plain and any(n > 1 and not step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
