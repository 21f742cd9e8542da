"""Small networks, each named for what it provokes."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn


class TiedHead(nn.Module):
    """Embedding and output projection share one parameter."""

    def __init__(self, n_words: int = 11, width: int = 6) -> None:
        super().__init__()
        self.embed = nn.Embedding(n_words, width)
        self.body = nn.Linear(width, width)
        self.head = nn.Linear(width, n_words, bias=False)
        self.head.weight = self.embed.weight


class IndexBuffer(nn.Module):
    """Holds a persistent integer table beside its weights."""

    def __init__(self, n: int = 4) -> None:
        super().__init__()
        self.fc = nn.Linear(n, n)
        self.register_buffer("table", torch.arange(n))


class AllKinds(nn.Module):
    """One of every kind of tensor: token, convolution, norms, scale, attention, running statistics."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.conv = nn.Conv2d(3, width, 3, bias=False)
        self.bn = nn.BatchNorm2d(width)
        self.ln = nn.LayerNorm(width)
        self.gn = nn.GroupNorm(2, width)
        self.gamma = nn.Parameter(torch.randn(width))
        self.attn = nn.MultiheadAttention(width, 2)
        self.fc = nn.Linear(width, 5)


class Attention(nn.Module):
    """Self-attention with query, key and value fused, separate, or inside torch's own module."""

    def __init__(self, width: int, n_heads: int, style: str) -> None:
        super().__init__()
        self.num_heads, self.style = n_heads, style
        if style == "torch":
            self.attn = nn.MultiheadAttention(width, n_heads, batch_first=True)
            return
        if style == "fused":
            self.qkv = nn.Linear(width, 3 * width)
        else:
            self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend over (batch, length, width)."""
        if self.style == "torch":
            result: torch.Tensor = self.attn(x, x, x, need_weights=False)[0]
            return result
        parts = self.qkv(x).chunk(3, -1) if self.style == "fused" else (self.q(x), self.k(x), self.v(x))
        q, k, v = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in parts)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class GatedMlp(nn.Module):
    """SwiGLU with both halves in one layer or in two (arXiv 2002.05202)."""

    def __init__(self, width: int, hidden: int, *, packed: bool) -> None:
        super().__init__()
        self.packed = packed
        if packed:
            self.w12 = nn.Linear(width, 2 * hidden)
        else:
            self.w1, self.w2 = nn.Linear(width, hidden), nn.Linear(width, hidden)
        self.w3 = nn.Linear(hidden, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., width) to the same shape."""
        gate, value = self.w12(x).chunk(2, -1) if self.packed else (self.w1(x), self.w2(x))
        return self.w3(nn.functional.silu(gate) * value)


class Transformer(nn.Module):
    """Pre-norm encoder with a classifier, of interchangeable parts."""

    def __init__(
        self, width: int = 12, n_heads: int = 2, depth: int = 2, *, style: str = "fused", packed: bool = True
    ) -> None:
        super().__init__()
        self.embed = nn.Linear(5, width)
        self.blocks = nn.ModuleList()
        for _ in range(depth):
            block = nn.ModuleDict()
            block["norm1"], block["attn"] = nn.LayerNorm(width), Attention(width, n_heads, style)
            block["norm2"], block["mlp"] = nn.LayerNorm(width), GatedMlp(width, 20, packed=packed)
            self.blocks.append(block)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Classify (batch, length, 5)."""
        x = self.embed(x)
        for block in self.blocks:
            assert isinstance(block, nn.ModuleDict)
            x = x + block["attn"](block["norm1"](x))
            x = x + block["mlp"](block["norm2"](x))
        return self.head(self.norm(x).mean(1))


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers with activations between them."""
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def conv_net(width: int, depth: int) -> nn.Sequential:
    """Plain convolutional classifier with batch norm."""
    layers: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
    layers += [
        nn.Sequential(nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()) for _ in range(depth)
    ]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


def block_stack(width: int, depth: int) -> nn.Sequential:
    """Blocks of two linear layers between an input and an output layer."""
    blocks = [
        nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)) for _ in range(depth)
    ]
    return nn.Sequential(nn.Linear(3, width), nn.Sequential(*blocks), nn.Linear(width, 4))


def randomise(module: nn.Module, seed: int) -> nn.Module:
    """Give every float tensor, statistics included, values of its own."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in module.state_dict(keep_vars=True).values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.1)
            else:
                tensor.fill_(seed)
    return module


def every_nth_fast(cases: Sequence[Any], n: int, first: int = 0) -> list[Any]:
    """Parameters of a test of which every n-th runs each time; the others take long and run in the sweep."""
    rows = (case if isinstance(case, tuple) else (case,) for case in cases)
    return [pytest.param(*row, marks=pytest.mark.slow if (i - first) % n else ()) for i, row in enumerate(rows)]


def perturbed(model: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter and statistic a value of its own, of ordinary size."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict(keep_vars=True).items():
            if not tensor.is_floating_point():
                continue
            noise = torch.rand(tensor.shape, generator=generator)
            if name.endswith("running_var") or (tensor.dim() == 1 and name.endswith("weight")):
                tensor.copy_(0.5 + noise)
            elif tensor.dim() == 1:
                tensor.copy_(noise - 0.5)
            else:
                tensor.mul_(1 + 0.1 * noise)
    return model.eval()
