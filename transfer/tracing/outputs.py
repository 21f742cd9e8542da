"""What networks return: tensors, alone or in tuples, dicts and dataclasses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch

__all__ = ["main_output", "named_outputs"]

_MAIN = ("logits", "image_embeds", "out", "last_hidden_state", "pooler_output")
"""What libraries call the output that matters most, the most wanted first."""


def main_output(result: Any) -> torch.Tensor | None:
    """Return the output that matters most: by its name, or the first one."""
    found = named_outputs(result)
    return next((found[name] for name in _MAIN if name in found), next(iter(found.values()), None))


def named_outputs(result: Any) -> dict[str, torch.Tensor]:
    """Return all tensors of numbers that a network returned, by names or places joined with dots."""
    return {
        ".".join(path): tensor
        for path, tensor in _walk(result, ())
        if (tensor.is_floating_point() or tensor.is_complex()) and tensor.numel()
    }


def _walk(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield path, value
        return
    if isinstance(value, Mapping):
        members = [(str(key), item) for key, item in value.items()]
    elif is_dataclass(value):
        members = [(field.name, getattr(value, field.name, None)) for field in fields(value)]
    elif isinstance(value, tuple | list):
        names = getattr(value, "_fields", range(len(value)))
        members = [(str(name), item) for name, item in zip(names, value, strict=True)]
    else:
        return
    for name, item in members:
        yield from _walk(item, (*path, name))
