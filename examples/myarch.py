"""A network of one's own: a mobile image classifier with inverted residual blocks, written in plain torch.

Nobody has pretrained it. Its stages resemble the EfficientNet family without being any member of it: other
widths, other depths, ten classes.
"""

import torch
from torch import nn


class ConvNorm(nn.Sequential):
    """Convolution, batch norm and, unless it ends a residual branch, an activation."""

    def __init__(self, n_in: int, n_out: int, kernel: int = 1, stride: int = 1, groups: int = 1, act: bool = True):
        layers = [
            nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(n_out),
        ]
        super().__init__(*layers, *([nn.ReLU6(inplace=True)] if act else []))


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project back; add the input where shapes allow."""

    def __init__(self, n_in: int, n_out: int, expand: int, kernel: int, stride: int):
        super().__init__()
        hidden = n_in * expand
        self.residual = stride == 1 and n_in == n_out
        self.branch = nn.Sequential(
            *([ConvNorm(n_in, hidden)] if expand > 1 else []),
            ConvNorm(hidden, hidden, kernel, stride, groups=hidden),
            ConvNorm(hidden, n_out, act=False),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, n_in, h, w) to (batch, n_out, h / stride, w / stride)."""
        y = self.branch(x)
        return x + y if self.residual else y


class PocketNet(nn.Module):
    """Image classifier for 3-channel images of any size from 32 pixels."""

    #         expand, channels, depth, kernel, stride
    stages = (
        (1, 16, 1, 3, 1),
        (6, 24, 3, 3, 2),
        (6, 40, 3, 5, 2),
        (6, 80, 4, 3, 2),
        (6, 112, 4, 5, 1),
        (6, 184, 4, 5, 2),
        (6, 304, 1, 3, 1),
    )

    def __init__(self, n_classes: int = 10):
        super().__init__()
        self.stem = ConvNorm(3, 32, 3, 2)
        blocks: list[nn.Module] = []
        n_in = 32
        for expand, n_out, depth, kernel, stride in self.stages:
            for i in range(depth):
                blocks.append(InvertedResidual(n_in, n_out, expand, kernel, stride if i == 0 else 1))
                n_in = n_out
        self.blocks = nn.Sequential(*blocks)
        self.neck = ConvNorm(n_in, 1280)
        self.head = nn.Linear(1280, n_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map images (batch, 3, h, w) to logits (batch, n_classes)."""
        x = self.neck(self.blocks(self.stem(x)))
        return self.head(x.mean(dim=(2, 3)))


def build_model() -> nn.Module:
    """Build what zoo takes as the target."""
    return PocketNet()
