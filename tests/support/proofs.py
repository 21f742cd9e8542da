"""A small classifier that does anything, and what a transfer into one says of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import transfer
from transfer.execution.proof import Function


def perturbed(model: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator)
                tensor.mul_(1 + 0.1 * noise).add_(0.01 * noise)
    return model


class Conv(nn.Module):
    """A small classifier of images whose forward can be made to do anything."""

    def __init__(self, n_classes: int = 10, act: Callable[[Any, torch.Tensor], Any] | None = None) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2)
        self.norm = nn.BatchNorm2d(16)
        self.body = nn.Conv2d(16, 32, 3)
        self.fc = nn.Linear(32, n_classes)
        self.act = act

    def forward(self, x: torch.Tensor) -> Any:
        features = self.body(self.norm(self.stem(x)).relu()).mean((2, 3)).relu()
        logits = self.fc(features)
        return logits if self.act is None else self.act(self, logits)


def function(source: nn.Module, target: nn.Module, **options: Any) -> Function:
    found = transfer.transfer(source, target, **options).function
    assert found is not None
    return found
