"""Encoders, decoders and the networks made of both."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


class Encoder(nn.Sequential):
    def __init__(self, width: int, depth: int) -> None:
        super().__init__(nn.Conv2d(3, width, 7, 2, 3), nn.ReLU(), *(Residual(width) for _ in range(depth)))


class Decoder(nn.Sequential):
    def __init__(self, width: int, n_classes: int) -> None:
        super().__init__(nn.Conv2d(width, 40, 5, padding=2), nn.ReLU(), nn.Conv2d(40, 24, 5, padding=2), nn.ReLU())
        self.append(nn.Conv2d(24, n_classes, 1))


class Classifier(nn.Module):
    def __init__(self, width: int = 16, depth: int = 3, n_classes: int = 10) -> None:
        super().__init__()
        self.body = Encoder(width, depth)
        self.head = nn.Linear(width, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x).mean((2, 3)))


class Segmenter(nn.Module):
    def __init__(self, width: int = 16, depth: int = 3, n_classes: int = 5) -> None:
        super().__init__()
        self.encoder = Encoder(width, depth)
        self.decoder = Decoder(width, n_classes)

    def forward(self, x: Tensor) -> Tensor:
        return interpolate(self.decoder(self.encoder(x)), scale_factor=2.0)


def made(build: type[nn.Module], seed: int, *sizes: int) -> nn.Module:
    torch.manual_seed(seed)
    network = build(*sizes)
    for name, buffer in network.named_buffers():
        if "running" in name:
            buffer.copy_(torch.rand(buffer.shape) + 0.5)
    return network.eval()


def same(a: nn.Module, b: nn.Module) -> bool:
    theirs = b.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in a.state_dict().items())


class ResidualDecoder(nn.Module):
    """Of blocks like those of the encoder, which the encoder's source could fill as well."""

    def __init__(self, n_classes: int = 5) -> None:
        super().__init__()
        self.inner = nn.Conv2d(16, 24, 5, padding=2)
        self.blocks = nn.Sequential(*(Residual(24) for _ in range(3)))
        self.out = nn.Conv2d(24, n_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.blocks(torch.relu(self.inner(x))))
