"""Copies of parts of a network with random values, and inputs to try them on.

What is tried is a stranger's code: it may fail, exit, draw torch's random numbers, print, refuse to be copied, or
take for ever on large inputs. None of that may reach the caller. What the code does to the world outside its
module (other random numbers, global settings, the original by way of a closure) is not held back.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import redirect_stdout
from functools import wraps
from itertools import product
from typing import Any, ParamSpec, TypeVar

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = [
    "MOST_WITH_POOLING",
    "call",
    "careful",
    "common_path",
    "examples",
    "image_shape",
    "images",
    "is_close",
    "meta_copy",
    "owners",
    "random_copy",
]

_IMAGE_SIDES = (64, 224, 256, 240, 384, 192, 448, 32, 512)
"""Heights and widths of images to try: many networks take any, some only the one they were made for."""

P = ParamSpec("P")
R = TypeVar("R")

_MOST_ELEMENTS = 100_000_000
"""A larger block is not copied."""

_MOST_PRODUCTS = 10_000_000_000
"""An example that would take more multiplications is not tried: a second of one core or two."""

_LARGEST_EXAMPLE = 5_000_000
"""Elements."""

_MOST_TOKENS = 250_000
"""Elements of a sequence; a block made for images may broadcast one to many times its size."""

MOST_WITH_POOLING = 10 * _MOST_PRODUCTS
"""The same for a stack of layers, most of which see a smaller image."""

_SIDES = (8, 7, 14, 64)
"""Heights and widths to try: windowed attention wants multiples of its window, much pooling a large image."""


def careful(default: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Answer `default` whatever a stranger's module does; spare the caller's random numbers and standard output."""

    def wrapped(ask: Callable[P, R]) -> Callable[P, R]:
        @wraps(ask)
        def answer(*args: P.args, **kwargs: P.kwargs) -> R:
            with torch.random.fork_rng(devices=[]), redirect_stdout(sys.stderr):
                torch.default_generator.manual_seed(0)  # that of the CPU alone
                try:
                    return ask(*args, **kwargs)
                except (Exception, SystemExit):  # its own way to copy, to list or to name its parts
                    result: R = default
                    return result

        return answer

    return wrapped


def call(module: nn.Module, example: torch.Tensor) -> torch.Tensor | None:
    """Return what a module gives, None if it cannot be called so."""
    try:
        with torch.no_grad():
            result = module(example)
    except (Exception, SystemExit):  # a block that wants other input, or more of it
        return None
    return result if isinstance(result, torch.Tensor) else None


def is_close(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors of a shape differ by rounding only, and are not all zero."""
    size = float(b.abs().max())
    return size > 0 and torch.allclose(a, b, rtol=1e-4, atol=1e-4 * size)


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
        block = copy.deepcopy(module)
    except Exception:  # it holds a lock, a file, a tensor of a graph
        return None
    if _shares(block, module):
        return None
    _forget_hooks(block)
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
    """Copy a module to the meta device: without its values, its hooks and its training mode."""
    memo = {}
    for part in module.modules():
        for owned in (part._parameters, part._buffers):
            for tensor in owned.values():
                if tensor is not None:
                    empty = torch.empty_like(tensor, device="meta")
                    memo[id(tensor)] = nn.Parameter(empty, False) if isinstance(tensor, nn.Parameter) else empty
    made: nn.Module = copy.deepcopy(module, memo)
    if _shares(made, module):
        raise RuntimeError("the copy is partly the original")
    _forget_hooks(made)
    return made.eval()


def _shares(made: nn.Module, module: nn.Module) -> bool:
    """Whether a copy holds modules of the original: some refuse to be copied and return themselves."""
    return not {id(part) for part in made.modules()}.isdisjoint(id(part) for part in module.modules())


def _forget_hooks(module: nn.Module) -> None:
    for part in module.modules():  # the user's hooks are none of our business
        part._forward_hooks.clear()
        part._forward_pre_hooks.clear()


def image_shape(model: nn.Module) -> tuple[int, ...] | None:
    """Find an image that a whole network takes.

    Parameters
    ----------
    model : nn.Module
        On the meta device.

    Returns
    -------
    tuple of int or None
        Batch of one, channels, height and width.
    """
    n_inputs = next((p.shape[1] for p in model.parameters() if p.dim() == 4), 3)
    for n, side in product(dict.fromkeys((3, n_inputs, 1)), _IMAGE_SIDES):
        shape = (1, n, side, side)
        if call(model, torch.empty(shape, device="meta")) is not None:
            return shape
    return None


def images(module: nn.Module) -> Iterator[torch.Tensor]:
    """Yield an image that a whole network takes, if running it does not take long."""
    model = meta_copy(module)
    shape = image_shape(model)
    if shape is None:
        return
    with FlopCounterMode(display=False) as counter:
        call(model, torch.empty(shape, device="meta"))
    if counter.get_total_flops() <= 2 * _MOST_PRODUCTS:
        yield torch.rand(shape, generator=torch.Generator().manual_seed(1)) + 0.1


def examples(block: nn.Module, most: int = _MOST_PRODUCTS) -> Iterator[torch.Tensor]:
    """Positive inputs (an activation may follow the addition) in the layouts of images and of token sequences."""
    n_weights = sum(tensor.numel() for tensor in block.parameters())
    for width, example in _layouts(block):
        if n_weights * (example.numel() // width) <= most and example.numel() <= _LARGEST_EXAMPLE:
            yield example


def _layouts(block: nn.Module) -> Iterator[tuple[int, torch.Tensor]]:
    widths: list[int] = []
    for tensor in block.parameters():
        widths += [n for n in tensor.shape[:2] if n > 1]
    first = next((tensor.shape[1] for tensor in block.parameters() if tensor.dim() > 1), 1)
    generator = torch.Generator().manual_seed(1)
    for width in dict.fromkeys([*sorted(set(widths), key=lambda n: -widths.count(n))[:3], first]):
        for side in _SIDES:
            yield width, torch.rand(1, width, side, side, generator=generator) + 0.1
            yield width, torch.rand(1, side, side, width, generator=generator) + 0.1
        yield width, torch.rand(1, width, generator=generator) + 0.1
        for length in (16, *sorted(set(widths))[:3]):
            if length * width <= _MOST_TOKENS:
                yield width, torch.rand(1, length, width, generator=generator) + 0.1
