"""Does a block become identity when its exits are zeroed? Asked of the block itself, on random input.

Shapes alone cannot tell a residual block from a plain stack of layers, and zeroing a plain stack would cut the
network in two. So where the target is a module, a copy of the block is filled with random values, its exits are
zeroed, and what comes out is compared with what went in.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator

import torch
from torch import nn

__all__ = ["is_identity_without"]

_SIDES = (8, 7, 14)
"""Heights and widths to try; windowed attention wants multiples of its window."""


def is_identity_without(target: nn.Module, names: Collection[str], exits: Collection[str]) -> bool | None:
    """Whether the block that owns some tensors returns its input once its exits are zero.

    Parameters
    ----------
    target : nn.Module
        Not changed; may be on the meta device.
    names : collection of str
        All tensors of the block, by their names in the target.
    exits : collection of str
        Those to zero.

    Returns
    -------
    bool or None
        None if the block could not be called on any of the usual inputs.
    """
    verdict = None
    for path in _owners(target, names):
        block = _random_copy(target.get_submodule(path), [name[len(path) + 1 :] for name in exits])
        for example in _examples(block):
            try:
                with torch.no_grad():
                    result = block(example)
            except Exception:  # a block that wants other input, or more of it
                continue
            if not isinstance(result, torch.Tensor) or result.shape != example.shape:
                continue
            if torch.allclose(result, example, rtol=1e-4, atol=1e-4):
                return True
            verdict = False
    return verdict


def _owners(target: nn.Module, names: Collection[str]) -> Iterator[str]:
    """Paths of the modules that own these tensors and no others, the innermost first."""
    paths = [name.split(".")[:-1] for name in names]
    common = []
    for level in zip(*paths, strict=False):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    owned = set(names)
    while common:
        path = ".".join(common)
        below = {f"{path}.{name}" for name in target.get_submodule(path).state_dict(keep_vars=True)}
        if not below <= owned:
            return
        yield path
        common.pop()


def _random_copy(module: nn.Module, exits: Collection[str]) -> nn.Module:
    """Copy a module to the CPU, give it random values of its own and zero its exits."""
    block = copy.deepcopy(module)
    block.to_empty(device="cpu")
    block.float()
    block.eval()
    generator = torch.Generator().manual_seed(0)
    for name, tensor in [*block.named_parameters(), *block.named_buffers()]:
        if name in exits or not tensor.is_floating_point():
            tensor.data.zero_()
        elif name.endswith("running_var"):
            tensor.data.fill_(1)
        else:
            tensor.data.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
    return block


def _examples(block: nn.Module) -> Iterator[torch.Tensor]:
    """Positive inputs (an activation may follow the addition) in the layouts of images and of token sequences."""
    widths: list[int] = []
    for tensor in block.parameters():
        widths += [n for n in tensor.shape[:2] if n > 1]
    generator = torch.Generator().manual_seed(1)
    for width in sorted(set(widths), key=lambda n: -widths.count(n))[:3]:
        for side in _SIDES:
            yield torch.rand(1, width, side, side, generator=generator) + 0.1
            yield torch.rand(1, side, side, width, generator=generator) + 0.1
        for length in (16, *sorted(set(widths))[:3]):
            yield torch.rand(1, length, width, generator=generator) + 0.1
