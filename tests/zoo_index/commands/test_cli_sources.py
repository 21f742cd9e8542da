"""Several sources on the command line, the target's code in a process of its own, and in the library's one call."""

from __future__ import annotations

import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from forked_cli import run_cli
from safetensors.torch import load_file, save_file
from segmenters import Classifier, Decoder, Encoder, Residual, ResidualDecoder, Segmenter, made, same
from torch import nn

import zoo_index
from transfer.errors import InputError
from zoo_index.transferring.sources import Place
from zoo_index.transferring.transfers import left_fresh
from zoo_index.zoo.zoo import Zoo

CODE = """
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

""" + "\n\n".join(inspect.getsource(part) for part in (Residual, Encoder, Decoder, Classifier, Segmenter))


class Reconstructor(nn.Module):
    def __init__(self, depth: int) -> None:
        super().__init__()
        self.encoder = Encoder(16, depth)
        self.decoder = ResidualDecoder()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.decoder(self.encoder(x))
        return found


@pytest.fixture
def folder(tmp_path: Path, small_index: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index with a classifier and two segmenters; a target with the encoder of the one, a decoder of another."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_DB", str(tmp_path / "zoo.db"))
    shutil.copy(small_index, tmp_path / "zoo.db")
    (tmp_path / "net.py").write_text(CODE + "\n\ndef build_model():\n    return Segmenter(16, 6)\n")
    networks = {
        "classifier": made(Classifier, 1, 16, 6),
        "small": made(Segmenter, 2, 16, 1),
        "other": made(Segmenter, 5, 4, 1, 2),
    }
    zoo = Zoo(tmp_path / "zoo.db")
    for name, network in networks.items():
        torch.save(network.state_dict(), f"{name}.pth")
        zoo.add(f"{name}.pth", name=name)
    return tmp_path


def run(*arguments: str, code: int = 0) -> tuple[str, str]:
    done = run_cli(*arguments, seconds=120)
    assert done.returncode == code, done.stderr
    return done.stdout.decode(), done.stderr.decode()


def answer(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*arguments, "--json")[0])
    return found


def check_output(path: str) -> None:
    found = load_file(path)
    encoder, decoder = (torch.load(f"{name}.pth") for name in ("classifier", "small"))
    for name, value in found.items():
        own = encoder["body." + name.removeprefix("encoder.")] if name.startswith("encoder.") else decoder[name]
        assert torch.equal(value, own), name


@pytest.fixture
def contained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the target's code as users do."""
    monkeypatch.setattr("zoo_index.contained.questions._CAN_CONTAIN", True)


def test_sources_that_are_named(folder: Path, contained: None) -> None:
    planned = answer("plan", "-t", "net.py", "-s", "classifier", "-s", "small.pth")
    assert planned["source"] == "classifier + small.pth"
    assert planned["coverage"] == 1
    assert {row["supplier"] for row in planned["tensors"]} == {"classifier", "small.pth"}
    shown, _ = run("transfer", "-t", "net.py", "-s", "classifier", "-s", "small.pth", "-o", "out.safetensors")
    assert "classifier + small.pth -> net.py" in shown
    assert "classifier: body.0" in shown
    assert "small.pth: decoder" in shown
    assert "none of them computes all of it" in shown
    check_output("out.safetensors")


@pytest.mark.parametrize("target", ["net.py", "module"])
def test_sources_that_are_recommended(folder: Path, target: str, contained: None) -> None:
    if target == "module":
        network = made(Segmenter, 9, 16, 6)
        report = zoo_index.warm_start(network, sources=3, available=True).to_json()
        save_file(network.state_dict(), "out.safetensors")
    else:
        report = answer(
            "transfer", "-t", target, "--auto", "--available", "--sources", "3", "-o", "out.safetensors"
        )
    # nothing is left for a third one
    assert [supply["name"] for supply in report["supplies"]] == ["classifier", "small"]
    assert report["supplies"][1]["similarity"] == 1
    check_output("out.safetensors")


def test_the_rest_is_recommended_where_the_first_is_named(folder: Path) -> None:
    report = answer("transfer", "-t", "net.py", "-s", "classifier.pth", "--sources", "2", "-o", "out.safetensors")
    assert [supply["name"] for supply in report["supplies"]] == ["classifier.pth", "small"]
    check_output("out.safetensors")


def test_filters_hold_for_further_sources(folder: Path) -> None:
    chosen = "--auto", "--sources", "2", "--search", "classifier"
    asked = "transfer", "-t", "net.py", *chosen, "-o", "out.safetensors"
    report = answer(*asked)
    assert report["source"] == "classifier"  # there is no other, and one source is one
    _, told = run(*asked)
    assert "1 of 2 sources; no other has half of the layers that are left" in told
    assert report["supplies"] == []
    assert report["coverage"] < 1


def test_what_does_not_go_together_is_refused(folder: Path) -> None:
    base = ("transfer", "-t", "net.py", "-o", "out.safetensors")
    two = ("-s", "classifier", "-s", "small")
    for given, message in (
        ((*two, "--method", "paper"), "expected one source with method 'paper', got 2"),
        ((*two, "--weights", "small.pth"), "expected one source with --weights, got 2"),
        ((*two, "--ema"), "expected one source with --ema, got 2"),
        ((*two, "--state", "a"), "expected one source with --state, got 2"),
        ((*two, "--sources", "1"), "expected at most 1 sources, got 2 names"),
        ((*two, "--auto"), "expected either --source NAME or --auto, got both"),
        ((), "expected either --source NAME or --auto, got neither"),
        (("-s", "classifier", "-s", "gone.pth"), "gone.pth"),
    ):
        _, complaint = run(*base, *given, code=2)
        assert message in complaint, given
    assert not Path("out.safetensors").exists()


def test_targets_without_code_of_their_own_do_as_well(folder: Path) -> None:
    zoo = Zoo(folder / "zoo.db")
    network, report = zoo.transfer(made(Segmenter, 9, 16, 6), ["classifier", "small.pth"], verify=False)
    assert report.coverage == 1
    with pytest.raises(InputError, match="at least one source, got sources=0"):
        zoo.transfer(network, sources=0)
    report = zoo.transfer_to_file("test_resnet", folder / "out.safetensors", ["classifier", "small.pth"])
    assert report.output == str(folder / "out.safetensors")
    assert {row.supplier for row in report.tensors} <= {"", "classifier", "small.pth"}


def test_what_is_recommended_is_for_the_part_that_the_first_leaves(folder: Path) -> None:
    """Alone, the classifier would fill the residual decoder with blocks of its own, and leave nothing."""
    second, target = made(Reconstructor, 2, 1), made(Reconstructor, 3, 6)
    torch.save(second.state_dict(), "residual.pth")
    left = left_fresh(target, [Place("classifier", "classifier.pth")], None)
    named = {tensor.name for tensor in left.tensors()}
    assert named == {name for name in target.state_dict() if name.startswith("decoder.")}
    zoo = Zoo(folder / "zoo.db")
    zoo.add("residual.pth", name="residual")
    _, report = zoo.transfer(target, "classifier", sources=2, verify=False)
    assert [supply.name for supply in report.supplies] == ["classifier", "residual"]
    assert same(target.decoder, second.decoder)
