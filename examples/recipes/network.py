"""What stands for your own code in these recipes: a network that nobody has pretrained, and a little data."""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset


def conv_norm(n_in: int, n_out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Convolution and batch norm."""
    return [
        nn.Conv2d(n_in, n_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(n_out),
    ]


class Block(nn.Module):
    """Expand, filter each channel, project back; add the input where shapes allow."""

    def __init__(self, n_in: int, n_out: int, expand: int, kernel: int, stride: int):
        super().__init__()
        wide = n_in * expand
        first = [*conv_norm(n_in, wide), nn.ReLU6()] if expand > 1 else []
        filters = [*conv_norm(wide, wide, kernel, stride, groups=wide), nn.ReLU6()]
        self.branch = nn.Sequential(*first, *filters, *conv_norm(wide, n_out))
        self.residual = stride == 1 and n_in == n_out

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (batch, n_in, h, w) to (batch, n_out, h / stride, w / stride)."""
        return x + self.branch(x) if self.residual else self.branch(x)


class SmallNet(nn.Module):
    """Image classifier for 3-channel images of any size from 32 pixels."""

    def __init__(self, n_classes: int = 10):
        super().__init__()
        self.stem = nn.Sequential(*conv_norm(3, 32, 3, 2), nn.ReLU6())
        self.blocks = nn.Sequential(
            Block(32, 16, 1, 3, 1),
            Block(16, 24, 6, 3, 2),
            Block(24, 24, 6, 3, 1),
            Block(24, 40, 6, 5, 2),
            Block(40, 40, 6, 5, 1),
            Block(40, 80, 6, 3, 2),
            Block(80, 80, 6, 3, 1),
        )
        self.head = nn.Linear(80, n_classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (batch, 3, h, w) to logits (batch, n_classes)."""
        return self.head(self.blocks(self.stem(images)).mean(dim=(2, 3)))


def digits(n: int = 256, size: int = 32) -> TensorDataset:
    """Return handwritten digits of scikit-learn as images (3, size, size) between -1 and 1, and their labels."""
    bunch = load_digits()
    images = torch.tensor(bunch.images[:n], dtype=torch.float32)[:, None] / 8 - 1
    images = nn.functional.interpolate(images, size=(size, size), mode="bilinear").expand(-1, 3, -1, -1)
    return TensorDataset(images.contiguous(), torch.tensor(bunch.target[:n]))
