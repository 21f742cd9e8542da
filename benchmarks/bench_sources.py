"""Several sources for one target: an encoder from a classifier, a decoder from another segmentation network.

The task: of each pixel of a grey scene of 48 x 48 say which of ten kinds of clothes it shows, or none. Scenes are
two images of Fashion-MNIST, one half of them for the sources, the other for the targets. The networks: U-Nets of
residual blocks. The classifier has learned clothes, one at a time; the other U-Net the same task with a smaller
encoder ("same"), or only where there are clothes at all ("other": its last layer tells two classes).

Measured: accuracy on the pixels of clothes after some steps of training the target, mean of three seeds.

    bench_sources.py [FOLDER OF FASHION-MNIST]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from statistics import mean

import torch
from _common import save
from quality.data import DEBIAN, Images, load
from quality.training import batches
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate

import transfer

SIDE, N_KINDS = 48, 10
N_SCENES, N_TEST = 8000, 500
N_PRETRAIN, RATE, BATCH = 1200, 1e-3, 16
STEPS = (0, 10, 20, 50, 100, 200)
SEEDS = (0, 1, 2)
ENCODERS = {"wide": (24, 48, 96), "deep": (16, 32, 64, 64)}
"""Widths of the stages of the targets' encoders."""
SMALL = {"wide": (16, 32, 64), "deep": (12, 24, 48, 48)}
"""Widths of those of the U-Nets that decoders come from."""
DECODERS = {"wide": (48, 24), "deep": (48, 32, 16)}


class Residual(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, n_inputs: int, n_outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_inputs, n_outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_outputs)
        self.conv2 = nn.Conv2d(n_outputs, n_outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_outputs)
        self.short = (
            nn.Conv2d(n_inputs, n_outputs, 1, stride) if stride > 1 or n_inputs != n_outputs else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, n_outputs, height, width)."""
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.short(x))


class Encoder(nn.Module):
    """Stages of two residual blocks, each after the first at half the size."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, widths[0], 3, 2, 1)
        pairs = zip((widths[0], *widths), widths, strict=False)
        self.stages = nn.ModuleList(
            nn.Sequential(Residual(a, b, 1 + (i > 0)), Residual(b, b, 1)) for i, (a, b) in enumerate(pairs)
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the maps of all stages."""
        x = torch.relu(self.stem(x))
        return [x := stage(x) for stage in self.stages]


class Classifier(nn.Module):
    """An encoder, and a classifier of the mean of what it gives."""

    def __init__(self, widths: Sequence[int], n_classes: int = N_KINDS) -> None:
        super().__init__()
        self.encoder = Encoder(widths)
        self.head = nn.Linear(widths[-1], n_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, (n, n_classes)."""
        return self.head(self.encoder(x)[-1].mean((2, 3)))


class Up(nn.Module):
    """A step of the decoder: what comes from below, at the size of what lies beside it."""

    def __init__(self, n_below: int, n_beside: int, n_outputs: int) -> None:
        super().__init__()
        self.merge = nn.Conv2d(n_below + n_beside, n_outputs, 3, 1, 1, bias=False)
        self.bn = nn.BatchNorm2d(n_outputs)
        self.refine = nn.Conv2d(n_outputs, n_outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_outputs)

    def forward(self, below: Tensor, beside: Tensor) -> Tensor:
        """Return (n, n_outputs, height, width) of what lies beside."""
        below = interpolate(below, size=beside.shape[2:], mode="bilinear", align_corners=False)
        x = torch.relu(self.bn(self.merge(torch.cat([below, beside], 1))))
        return torch.relu(self.bn2(self.refine(x)))


class UNet(nn.Module):
    """An encoder, and a decoder that reads all of its stages."""

    def __init__(self, widths: Sequence[int], decoder: Sequence[int], n_classes: int) -> None:
        super().__init__()
        self.encoder = Encoder(widths)
        inputs = (widths[-1], *decoder)
        self.ups = nn.ModuleList(
            Up(a, b, c) for a, b, c in zip(inputs, reversed(widths[:-1]), decoder, strict=False)
        )
        self.head = nn.Conv2d(decoder[-1], n_classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of each pixel, (n, n_classes, height, width)."""
        *beside, x = self.encoder(x)
        for up, features in zip(self.ups, reversed(beside), strict=True):
            x = up(x, features)
        return interpolate(self.head(x), scale_factor=2.0, mode="bilinear", align_corners=False)


def scenes(part: Images, n: int, seed: int) -> Images:
    """Put two images at random places; labels are those of the pixels, `N_KINDS` where there is nothing."""
    images, labels = part
    random = torch.Generator().manual_seed(seed)
    dark = float(images.min())
    made, told = torch.full((n, 1, SIDE, SIDE), dark), torch.full((n, SIDE, SIDE), N_KINDS)
    side = images.shape[-1]
    for i in range(n):
        for _ in range(2):
            which = int(torch.randint(len(images), (), generator=random))
            top, left = torch.randint(SIDE - side + 1, (2,), generator=random).tolist()
            place = (slice(top, top + side), slice(left, left + side))
            shown = images[which, 0] > dark + 0.3
            made[i, 0][place] = torch.where(shown, images[which, 0], made[i, 0][place])
            told[i][place] = torch.where(shown, labels[which], told[i][place])
    return made + 0.3 * torch.randn(made.shape, generator=random), told


@torch.no_grad()
def accuracy(model: nn.Module, test: Images) -> float:
    """Share of the pixels of clothes that are told right."""
    model.eval()
    told = torch.cat([model(part).argmax(1) for part in test[0].split(50)])
    shown = test[1] < N_KINDS
    return float((told == test[1])[shown].float().mean())


def learn(model: nn.Module, train: Images, n_steps: int, seed: int, rate: float = 3e-3) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), rate, weight_decay=0.01, fused=True)
    model.train()
    for batch in batches(train, n_steps, BATCH, seed):
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(model(train[0][batch]), train[1][batch]).backward()
        optimizer.step()


def curve(model: nn.Module, train: Images, test: Images, seed: int) -> list[float]:
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.01, fused=True)
    found = [accuracy(model, test)]
    for step, batch in enumerate(batches(train, STEPS[-1], BATCH, seed), 1):
        model.train()
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(model(train[0][batch]), train[1][batch]).backward()
        optimizer.step()
        if step in STEPS:
            found.append(accuracy(model, test))
    return found


def sources(shape: str, kind: str, single: Images, train: Images) -> tuple[nn.Module, nn.Module]:
    """Train a classifier with the target's encoder, and a U-Net with the target's decoder."""
    torch.manual_seed(1000)
    first = Classifier(ENCODERS[shape])
    learn(first, single, N_PRETRAIN, 0)
    n_classes = N_KINDS + 1 if kind == "same" else 2
    second = UNet(SMALL[shape], DECODERS[shape], n_classes)
    learn(second, train if kind == "same" else (train[0], (train[1] == N_KINDS).long()), N_PRETRAIN, 0)
    return first.eval(), second.eval()


def main() -> None:
    torch.set_num_threads(1)
    parts = load(sys.argv[1] if len(sys.argv) > 1 else str(DEBIAN))
    theirs, ours = (scenes(parts[name], N_SCENES, seed) for seed, name in enumerate(("source", "target")))
    test = scenes(parts["test"], N_TEST, 2)
    rows = []
    for shape, widths in ENCODERS.items():
        for kind in ("same", "other"):
            started = time.perf_counter()
            first, second = sources(shape, kind, parts["source"], theirs)
            starts = {
                "random": (),
                "classifier": (first,),
                "U-Net": (second,),
                "classifier, then U-Net": (first, second),
                "U-Net, then classifier": (second, first),
            }
            for start, given in starts.items():
                curves, coverage = [], []
                for seed in SEEDS:
                    torch.manual_seed(seed)
                    target = UNet(widths, DECODERS[shape], N_KINDS + 1)
                    if given:
                        report = transfer.transfer(list(given), target, verify=False)
                        coverage.append(report.coverage)
                    curves.append(curve(target, ours, test, seed))
                row = {
                    "target": shape,
                    "task of the U-Net": kind,
                    "start": start,
                    "coverage": mean(coverage) if coverage else 0.0,
                    "accuracy": dict(zip(map(str, STEPS), map(mean, zip(*curves, strict=True)), strict=True)),
                }
                print(row, f"{time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
                rows.append(row)
    save("sources", {"rows": rows})


if __name__ == "__main__":
    main()
