"""What is decided about tensors of two networks, and what a decision makes of values."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

import transfer
from transfer.resampling.recognition import Resampling, resampling
from transfer.structure.records import Architecture, Layer, Tensor
from zoo_index.catalogues.timm_catalogue import build

VIT = "vit_tiny_patch16_224"


def architecture(**parameters: tuple[int, ...]) -> Architecture:
    """A network of one patch embedding and bare parameters."""
    header = {name: torch.empty(shape, device="meta") for name, shape in parameters.items()}
    return transfer.standardize({"patch.weight": torch.empty(8, 3, 4, 4, device="meta"), **header})


def bare(network: Architecture, role: str) -> tuple[Tensor, Layer]:
    return next((t, layer) for layer in network.layers() for t in layer.tensors if t.name.endswith(role))


def decide(
    source: Architecture, target: Architecture, name: str, other: str = "", **options: Any
) -> Resampling | None:
    (a, source_layer), (b, target_layer) = bare(source, name), bare(target, other or name)
    return resampling(a, b, source_layer, target_layer, source, target, **options)


def between(
    source: dict[str, tuple[int, ...]], target: dict[str, tuple[int, ...]], **options: Any
) -> Resampling | None:
    return decide(architecture(**source), architecture(**target), "pos_embed", **options)


def resampled(source: nn.Module, target: nn.Module, name: str) -> torch.Tensor:
    """Carry out what is decided for a tensor of two live networks."""
    found = decide(transfer.standardize(source), transfer.standardize(target), name)
    assert found is not None
    key = next(key for key in source.state_dict() if key.endswith(name))
    value = source.state_dict()[key]
    before = value.clone()
    result = found.transform(value)
    assert torch.equal(value, before)
    assert tuple(result.shape) == found.shape
    return result


def timm_model(name: str, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return build(name, device="cpu", **options)
