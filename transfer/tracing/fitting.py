"""How large an input has to be for a network that flattens its feature map: found by halving.

The linear layer behind a flattened map fixes the size of the map, and so that of the input, and no attribute tells
it. But what goes wrong on another size tells which side it is on: the linear layer is given fewer numbers than it
reads, or more.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

__all__ = ["fitting_size"]

_VIEW = re.compile(r"shape '\[-?\d+, (\d+)\]' is invalid for input of size (\d+)")
"""What torch says where a map of one size is to be viewed as rows of another."""


def fitting_size(model: nn.Module, shaped: Callable[[int], tuple[int, ...]], most: int) -> tuple[int, ...] | None:
    """Find a shape on which a network runs, one result for one example.

    Parameters
    ----------
    model : nn.Module
        On the meta device.
    shaped : callable
        Makes a shape, of a batch of one, of a size.
    most : int
        The largest size to try.

    Returns
    -------
    tuple of int or None
        None if no size will do.
    """
    least = 1
    while least <= most:
        size = (least + most) // 2
        off = _excess(model, torch.empty(shaped(size), device="meta"))
        if not off:
            return shaped(size)
        least, most = (size + 1, most) if off < 0 else (least, size - 1)
    return None


class _MisfitError(Exception):
    """A linear layer was given other than it reads."""


def _excess(model: nn.Module, example: torch.Tensor) -> int:
    """Return 0 if the network runs, 1 if the example is too large, -1 if it is too small or nobody knows."""
    off: list[int] = []

    def look(layer: nn.Linear, args: tuple[Any, ...]) -> None:
        given = args[0].shape[-1] if args and isinstance(args[0], torch.Tensor) else layer.in_features
        if given != layer.in_features:
            off.append(1 if given > layer.in_features else -1)
            raise _MisfitError

    hooks = [layer.register_forward_pre_hook(look) for layer in model.modules() if isinstance(layer, nn.Linear)]
    try:
        with torch.no_grad():
            result = model(example)
    except (Exception, SystemExit) as error:
        if found := _VIEW.search(str(error)):
            wanted, given = map(int, found.groups())
            return 1 if given > wanted else -1
        return off[0] if off else -1
    finally:
        for hook in hooks:
            hook.remove()
    # a larger map viewed as several rows
    return 1 if isinstance(result, torch.Tensor) and result.dim() and result.shape[0] > 1 else 0
