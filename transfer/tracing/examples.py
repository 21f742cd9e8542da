"""Inputs to try parts of networks on, and what they make of them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from transfer.tracing.given import Example

__all__ = ["MOST_WITH_POOLING", "call", "examples", "first_tensor", "is_close"]

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


def call(module: nn.Module, example: torch.Tensor | Example) -> torch.Tensor | None:
    """Return what a module gives, the first tensor of several; None if it cannot be called so."""
    try:
        with torch.no_grad():
            result = example(module) if isinstance(example, Example) else module(example)
    except (Exception, SystemExit):  # a block that wants other input, or more of it
        return None
    return first_tensor(result)


def first_tensor(given: object) -> torch.Tensor | None:
    """Return a tensor, or the first of what is given with it: blocks may pass masks and biases on beside it."""
    first = given[0] if isinstance(given, tuple | list) and given else given
    return first if isinstance(first, torch.Tensor) else None


def is_close(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors of a shape differ by rounding only, and are not all zero."""
    size = float(b.abs().max())
    return size > 0 and torch.allclose(a, b, rtol=1e-4, atol=1e-4 * size)


def examples(block: nn.Module, most: int = _MOST_PRODUCTS) -> Iterator[torch.Tensor]:
    """Positive inputs (an activation may follow the addition): images, volumes and sequences of tokens."""
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
    are_volumes = any(tensor.dim() == 5 for tensor in block.parameters())
    for width in dict.fromkeys([*sorted(set(widths), key=lambda n: -widths.count(n))[:3], first]):
        for side in _SIDES:
            yield width, torch.rand(1, width, side, side, generator=generator) + 0.1
            yield width, torch.rand(1, side, side, width, generator=generator) + 0.1
        for side in _SIDES[:2] if are_volumes else ():
            yield width, torch.rand(1, width, side, side, side, generator=generator) + 0.1
        yield width, torch.rand(1, width, generator=generator) + 0.1
        for length in (16, *sorted(set(widths))[:3]):
            if length * width <= _MOST_TOKENS:
                yield width, torch.rand(1, length, width, generator=generator) + 0.1
