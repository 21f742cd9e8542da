"""Small networks, each named for what it provokes."""

from __future__ import annotations

from itertools import pairwise

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
