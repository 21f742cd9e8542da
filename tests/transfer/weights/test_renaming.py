"""Weights files whose names are not quite those of the module that they are of."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

import transfer
from transfer.weights.checkpoint import open_checkpoint
from transfer.weights.renaming import named_like


class Tied(nn.Module):
    def __init__(self, n_classes: int = 12) -> None:
        super().__init__()
        self.table = nn.Embedding(12, 8)
        self.norm = nn.BatchNorm1d(8)
        self.head = nn.Linear(8, n_classes, bias=False)
        if n_classes == 12:
            self.head.weight = self.table.weight

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.table(ids).mean(1)))


def write(how: str, module: nn.Module, folder: Path) -> Path:
    state = module.state_dict()
    if how == "tied":
        safetensors.torch.save_model(module, str(folder / "w.safetensors"))
        return folder / "w.safetensors"
    if how == "wrapped":
        state = nn.DataParallel(module).state_dict()
    elif how == "uncounted":
        state = {name: value for name, value in state.items() if "num_batches" not in name}
    elif how == "other shapes":
        state = {**state, "norm.weight": torch.ones(9)}
    elif how == "less":
        state = {name: value for name, value in state.items() if name != "norm.bias"}
    torch.save(state, folder / "w.pth")
    return folder / "w.pth"


@pytest.mark.parametrize("how", ["plain", "tied", "wrapped", "uncounted"])
def test_the_module_tells_what_the_file_holds(how: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = Tied()
    path = write(how, source, tmp_path)
    with torch.device("meta"):
        structure = Tied()
    found, missing = named_like(open_checkpoint(path), structure)
    assert not missing
    assert list(found.header) == list(source.state_dict())
    with found.opened() as read:
        assert all(torch.equal(read(name), value) for name, value in source.state_dict().items())
    target = Tied()
    example = (torch.randint(0, 12, (2, 5)),)
    report = transfer.transfer(path, target, source_structure=Tied(), example=example)
    assert report.function is not None
    assert report.function.verdict == "equal"
    assert torch.equal(source.table.weight, target.table.weight)


@pytest.mark.parametrize(("how", "missing"), [("other shapes", "norm.weight"), ("less", "norm.bias")])
def test_a_file_of_another_module_stays_as_it_is(how: str, missing: str, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write(how, Tied(), tmp_path))
    assert named_like(checkpoint, Tied()) == (checkpoint, missing)
