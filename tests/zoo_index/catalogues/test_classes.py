"""How many classes the network of a weights file tells apart."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from transfer.weights.checkpoint import open_checkpoint
from zoo_index.catalogues.checkpoint import classes_in
from zoo_index.engines import open_engine
from zoo_index.zoo.zoo import Zoo


def chain(*widths: int) -> nn.Sequential:
    layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*layers[:-1])


class TwoHeads(nn.Module):
    def __init__(self, first: int, second: int) -> None:
        super().__init__()
        self.body, self.a, self.b = chain(8, 16, 32), nn.Linear(32, first), nn.Linear(32, second)


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
@pytest.mark.parametrize(
    ("network", "n_classes"),
    [
        (lambda: chain(12, 8, 5), 5),
        (lambda: chain(12, 8, 4, 8, 12), 0),  # ends as it began
        (lambda: chain(12, 8, 5, 8), 0),  # as wide as another layer
        (lambda: nn.Linear(4, 2), 2),
        (lambda: nn.Linear(4, 2, bias=False), 0),
        (lambda: TwoHeads(7, 7), 7),
        (lambda: TwoHeads(7, 9), 0),
        (lambda: timm.create_model("test_resnet", num_classes=11), 11),
        (lambda: timm.create_model("test_vit", num_classes=11), 11),
        (lambda: timm.create_model("test_convnext", num_classes=11), 11),
        (lambda: timm.create_model("test_resnet", num_classes=0), 0),
        (lambda: timm.create_model("test_vit", num_classes=0), 0),
        (lambda: timm.create_model("mobilenetv3_small_050", num_classes=0), 0),  # ends in a convolution
    ],
)
def test_a_file_tells_its_classes_by_shapes_alone(
    network: Callable[[], nn.Module], n_classes: int, kind: str, tmp_path: Path
) -> None:
    state = network().state_dict()
    file = tmp_path / f"net.{kind}"
    if kind == "pth":
        torch.save(state, file)
    else:  # sorted by name, so that the last tensor is not of the last layer
        save_file(state, file)
    assert classes_in(open_checkpoint(file)) == n_classes


def test_added_files_and_folders_have_their_classes(zoo: Zoo, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    torch.save(chain(12, 8, 5).state_dict(), folder / "five.pth")
    torch.save(chain(12, 8, 12).state_dict(), folder / "none.pth")
    assert zoo.add(folder / "five.pth", "mine")["n_classes"] == 5
    assert zoo.add(folder / "none.pth", "yours")["n_classes"] == 0
    for _ in range(2):  # the second time the files are not read again
        zoo.add_folder(folder, "runs", engine=open_engine("inline"))
        found = {entry["name"]: entry["n_classes"] for entry in zoo.entries() if entry["catalogue"] == "folder"}
        assert found == {"runs/five": 5, "runs/none": 0}
    torch.save(chain(12, 8, 6).state_dict(), folder / "five.pth")
    os.utime(folder / "five.pth", ns=(1, 1))
    zoo.add_folder(folder, "runs", engine=open_engine("inline"))
    assert zoo.entry("runs/five")["n_classes"] == 6
