"""Fashion-MNIST: half of the 60,000 training images for the sources, half for the targets; 10,000 to test with."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from quality.networks import SIDE

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts it."""

Images = tuple[Tensor, Tensor]
"""Images (n, 1, SIDE, SIDE), normalised, channels last; labels (n,)."""


@dataclass(frozen=True)
class Setting:
    """Which labels the sources and the targets learn."""

    name: str
    source_labels: tuple[int, ...]
    target_labels: tuple[int, ...]


SETTINGS = {
    "same labels": Setting("same labels", tuple(range(10)), tuple(range(10))),
    "other labels": Setting("other labels", (1, 3, 5, 7, 8, 9), (0, 2, 4, 6)),
}


def read(folder: Path, stem: str) -> Images:
    """Read a pair of IDX files, gzipped or not."""
    arrays = []
    for kind, header in (("images-idx3", 16), ("labels-idx1", 8)):
        path = folder / f"{stem}-{kind}-ubyte"
        packed = path.with_name(path.name + ".gz")
        if not path.exists() and not packed.exists():
            raise SystemExit(
                f"expected Fashion-MNIST in {folder}, {packed.name} is not there; install Debian's package "
                "dataset-fashion-mnist, or give the folder with --data"
            )
        data = gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
        arrays.append(np.frombuffer(data, np.uint8, offset=header).copy())
    labels = torch.from_numpy(arrays[1]).long()
    images = torch.from_numpy(arrays[0]).view(-1, 1, 28, 28).float() / 255
    margin = (SIDE - 28) // 2
    images = torch.nn.functional.pad((images - 0.286) / 0.353, [margin] * 4, value=-0.286 / 0.353)
    return images.contiguous(memory_format=torch.channels_last), labels


@cache
def load(folder: str) -> dict[str, Images]:
    """Return disjoint parts: what sources learn from, what targets learn from, what both are tested on."""
    images, labels = read(Path(folder), "train")
    half = len(labels) // 2
    test = read(Path(folder), "t10k")
    return {"source": (images[:half], labels[:half]), "target": (images[half:], labels[half:]), "test": test}


def only(part: Images, labels: tuple[int, ...]) -> Images:
    """Keep the images of some labels, which are counted anew from 0."""
    images, found = part
    numbers = torch.full((10,), -1)
    numbers[list(labels)] = torch.arange(len(labels))
    kept = numbers[found] >= 0
    return images[kept].contiguous(memory_format=torch.channels_last), numbers[found[kept]]
