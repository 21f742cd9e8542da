"""Networks of the usual shapes out of plain torch modules, so that nothing else has to be installed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

__all__ = ["ResNet", "VisionTransformer", "randomise", "resnet50", "vit_large"]


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution beside a shortcut."""

    def __init__(self, n_inputs: int, width: int, stride: int) -> None:
        super().__init__()
        n_outputs = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(n_inputs, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, n_outputs, 1, bias=False), nn.BatchNorm2d(n_outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or n_inputs != n_outputs:
            convolution = nn.Conv2d(n_inputs, n_outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(convolution, nn.BatchNorm2d(n_outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, n_inputs, height, width) to (batch, 4 * width, ...)."""
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        return (self.bn3(self.conv3(y)) + self.downsample(x)).relu()


class ResNet(nn.Module):
    """Residual network of bottlenecks (arXiv 1512.03385)."""

    def __init__(self, width: int, depths: Sequence[int], n_classes: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.stages = nn.ModuleList()
        n_channels = width
        for i, depth in enumerate(depths):
            inner = width * 2**i
            blocks = []
            for j in range(depth):
                blocks.append(Bottleneck(n_channels, inner, 2 if i and not j else 1))
                n_channels = 4 * inner
            self.stages.append(nn.Sequential(*blocks))
        self.fc = nn.Linear(n_channels, n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Classify (batch, 3, height, width)."""
        x = self.maxpool(self.bn1(self.conv1(x)).relu())
        for stage in self.stages:
            x = stage(x)
        logits: torch.Tensor = self.fc(x.mean((2, 3)))
        return logits


class Attention(nn.Module):
    """Self-attention with one layer for query, key and value."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.num_heads = n_heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Attend over (batch, length, width)."""
        q, k, v = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        mixed = nn.functional.scaled_dot_product_attention(q, k, v)
        result: torch.Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return result


class EncoderBlock(nn.Module):
    """Attention and two linear layers, each after a norm and beside a shortcut."""

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(width), Attention(width, n_heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, length, width) to the same shape."""
        x = x + self.attn(self.norm1(x))
        result: torch.Tensor = x + self.mlp(self.norm2(x))
        return result


class VisionTransformer(nn.Module):
    """Transformer over the patches of an image (arXiv 2010.11929)."""

    def __init__(self, width: int, depth: int, n_heads: int, image: int, patch: int, n_classes: int) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + (image // patch) ** 2, width))
        self.patch_embed = nn.Conv2d(3, width, patch, patch)
        self.blocks = nn.Sequential(*(EncoderBlock(width, n_heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Classify (batch, 3, image, image)."""
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1) + self.pos_embed
        logits: torch.Tensor = self.head(self.norm(self.blocks(x))[:, 0])
        return logits


def resnet50(width: int = 64) -> ResNet:
    """ResNet-50, or one as deep and narrower."""
    return ResNet(width, (3, 4, 6, 3), 1000)


def vit_large(width: int = 1024, depth: int = 24) -> VisionTransformer:
    """ViT-L/16, or one with fewer or narrower blocks, of heads of 64."""
    return VisionTransformer(width, depth, width // 64, 224, 16, 1000)


@torch.no_grad()
def randomise(network: nn.Module, seed: int) -> nn.Module:
    """Give every tensor, statistics included, values of its own, the same ones on every device."""
    generator = torch.Generator().manual_seed(seed)
    for tensor in network.state_dict(keep_vars=True).values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.2 + 0.01)
        else:
            tensor.fill_(seed)
    return network
