"""Copies of a network or of a part of it, without its values, its hooks and its training mode."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator, Sequence

import torch
from torch import nn

__all__ = ["bare_copy", "common_path", "meta_copy", "owners", "plain_tensors", "random_copy"]

_MOST_ELEMENTS = 100_000_000
"""A larger block is not copied."""


def owners(target: nn.Module, names: Collection[str]) -> Iterator[str]:
    """Paths of the modules that own these tensors and no others, the innermost first."""
    common = common_path(list(names))
    owned = set(names)
    while common:
        path = ".".join(common)
        below = {f"{path}.{name}" for name in target.get_submodule(path).state_dict(keep_vars=True)}
        if not below <= owned:
            return
        yield path
        common.pop()


def common_path(names: Sequence[str]) -> list[str]:
    """Leading components that all names share, their last one left out."""
    common = []
    for level in zip(*(name.split(".")[:-1] for name in names), strict=False):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    return common


def random_copy(module: nn.Module) -> nn.Module | None:
    """Copy a module to the CPU with random values of its own; None if it is too large or cannot be copied."""
    if sum(tensor.numel() for tensor in module.parameters()) > _MOST_ELEMENTS:
        return None
    try:
        block = bare_copy(module)
    except Exception:  # it holds a lock, a file, a tensor of a graph
        return None
    block.to_empty(device="cpu")
    block.float()
    block.eval()
    generator = torch.Generator().manual_seed(0)
    for name, tensor in [*block.named_parameters(), *block.named_buffers()]:
        if not tensor.is_floating_point():
            tensor.data.zero_()
        elif name.endswith("running_var"):
            tensor.data.fill_(1)
        else:
            tensor.data.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
    return block


def meta_copy(module: nn.Module) -> nn.Module:
    """Copy a module to the meta device, in single precision; also what tensors it keeps as plain attributes."""
    memo: dict[int, torch.Tensor] = {}
    for part in module.modules():
        for tensor in (*part._parameters.values(), *part._buffers.values(), *plain_tensors(part)):
            if tensor is not None:
                dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
                empty = torch.empty_like(tensor, dtype=dtype, device="meta")
                memo[id(tensor)] = nn.Parameter(empty, False) if isinstance(tensor, nn.Parameter) else empty
    return bare_copy(module, memo).eval()


def plain_tensors(part: nn.Module) -> Iterator[torch.Tensor]:
    """List tensors that a module holds as attributes of its own, also in lists and dicts: constants."""
    stack = [value for name, value in vars(part).items() if name not in ("_parameters", "_buffers", "_modules")]
    while stack:
        value = stack.pop()
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            stack += value
        elif type(value) is dict:
            stack += value.values()


def bare_copy(module: nn.Module, memo: dict[int, torch.Tensor] | None = None) -> nn.Module:
    """Copy a module without the hooks that its user registered.

    Parameters
    ----------
    module : nn.Module
    memo : dict of int to Tensor, optional
        What to put in the place of tensors, by their identity.

    Raises
    ------
    Exception
        Of any kind, if it cannot be copied.
    """
    made: nn.Module = copy.deepcopy(module, memo)
    if _shares(made, module):
        raise RuntimeError("the copy is partly the original")
    for part in made.modules():
        part._forward_hooks.clear()
        part._forward_pre_hooks.clear()
    return made


def _shares(made: nn.Module, module: nn.Module) -> bool:
    """Whether a copy holds modules of the original: some refuse to be copied and return themselves."""
    return not {id(part) for part in made.modules()}.isdisjoint(id(part) for part in module.modules())
