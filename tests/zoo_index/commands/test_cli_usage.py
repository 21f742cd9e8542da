"""What is said of a command line that is not one, and what is offered instead."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from nets import mlp

from zoo_index.commands.main import cli

NET = "from torch import nn\n\n\nclass Net(nn.Sequential):\n    def __init__(self):\n        super().__init__("
NET += "nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(8, 2))\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, small_index: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(small_index, "zoo.db")
    monkeypatch.setenv("ZOO_DB", str(tmp_path / "zoo.db"))
    for cache in ("HF_HUB_CACHE", "TORCH_HOME"):
        monkeypatch.setenv(cache, str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    Path("net.py").write_text(NET)
    return tmp_path


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == code, done.output
    return done.output


def test_choices_stand_in_one_line() -> None:
    said = run("completion", code=2)
    assert "Choose from: bash, zsh, fish. For example: zoo completion bash\n" in said
    assert "\\t" not in said


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (("recommend", "cnn.py:MyNet"), "--target cnn.py:MyNet"),
        (("transfer", "my net.py", "--auto"), "--target 'my net.py'"),
        (("standardize", "net.py", "-o", "net.json"), "--target net.py"),
        (("standardize", "net.json", "-t", "net.py"), "--output net.json"),
        (("plan", "net.py", "-s", "test_vit"), "--target net.py"),
        (("plan", "-t", "net.py", "test_vit"), "--source test_vit"),
    ],
)
def test_a_word_too_many_is_what_an_option_lacks(arguments: tuple[str, ...], meant: str) -> None:
    assert f"did you mean {meant}?" in run(*arguments, code=2)


def test_what_is_missing_is_named_where_nothing_can_be_meant() -> None:
    assert "Missing option '--target' / '-t'. For example: zoo recommend" in run("recommend", code=2)
    assert "did you mean" not in run("recommend", "a", "b", code=2)


@pytest.mark.parametrize(
    "command", [("plan", "-s", "test_resnett", "-t", "net.py"), ("similarity", "test_resnett", "net.py")]
)
def test_names_of_the_index_that_are_like_a_source(command: tuple[str, ...]) -> None:
    assert "did you mean test_resnet" in run(*command, code=2)


def test_sources_of_a_folder_that_are_like_a_name() -> None:
    Path("runs").mkdir()
    for i in range(12):
        torch.save(mlp(3, 4, 2 + i).state_dict(), f"runs/m{i:02}.pth")
    said = run("add", "runs/")
    assert said.count("new runs/m") == 10
    assert "and 2 more: zoo list" in said
    assert "next: zoo show runs/m00; they are sources now: zoo recommend" in said
    for asked in (("plan", "-s", "run/m03", "-t", "net.py"), ("similarity", "run/m03", "net.py")):
        assert "did you mean runs/m03" in run(*asked, code=2)


def test_only_safetensors_is_written() -> None:
    for name in ("x.foo", "x"):
        said = run("transfer", "-t", "net.py", "-s", "test_resnet", "-o", name, code=2)
        assert "expected an output that ends in .safetensors" in said
        assert "name it 'x.safetensors'" in said


def test_weights_that_cannot_be_fetched_lead_to_those_that_are_here() -> None:
    offer = "to choose only among those: --auto --available"
    assert offer in run("transfer", "-t", "net.py", "--auto", code=2)
    assert offer not in run("transfer", "-t", "net.py", "-s", "test_vit2", code=2)


@pytest.mark.parametrize(
    "words",
    [
        ("-t", "net.py", "-s", "test_resnet"),
        ("--source", "test_resnet", "--target", "net.py"),
        ("-t", "net.py", "test_resnet"),
        ("-s", "test_resnet", "net.py"),
    ],
)
def test_two_networks_are_compared_however_they_are_given(words: tuple[str, ...]) -> None:
    value = run("similarity", "test_resnet", "net.py")
    assert 0 < float(value) < 1
    assert run("similarity", *words) == value


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Missing argument 'SOURCE'. For example: zoo similarity"),
        (("test_resnet",), "Missing argument 'TARGET'."),
        (("-s", "test_resnet"), "Missing option '--target' / '-t'."),
        (("-t", "net.py"), "Missing option '--source' / '-s'."),
        (("-t", "net.py", "a", "b c"), "expected one source and one target, got 'b c' besides"),
    ],
)
def test_one_network_or_three_are_not_compared(words: tuple[str, ...], said: str) -> None:
    assert said in run("similarity", *words, code=2)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("similarity", "-s", "a", "-s", "b c", "-t", "net.py"),
            "Error: expected one source, got 2: a, 'b c'; give --source once, or run the command once for each",
        ),
        (
            ("similarity", "-s", "a", "-t", "x.py", "--target", "y.py"),
            "expected one target, got 2: x.py, y.py; give",
        ),
        (("recommend", "-t", "x.py", "-t", "y.py"), "expected one target, got 2: x.py, y.py; give --target once"),
        (("plan", "-s", "a", "-t", "x.py", "-t", "y.py"), "expected one target, got 2: x.py, y.py"),
        (("transfer", "--auto", "-t", "x.py", "-t", "x.py"), "expected one target, got 2: x.py, x.py"),
        (("standardize", "-t", "x.py", "-t", "y.py", "-o", "a.json"), "expected one target, got 2: x.py, y.py"),
    ],
)
def test_of_two_networks_none_is_taken_silently(words: tuple[str, ...], said: str) -> None:
    assert said in run(*words, code=2)


def test_networks_have_parameters_and_tensors_have_elements() -> None:
    torch.save(mlp(3, 4, 2).state_dict(), "old.pth")
    said = run("inspect", "old.pth")
    assert "elements" in said
    assert "values" not in said
    said = run("plan", "-t", "test_vit", "-s", "test_vit")
    assert "100.0% of the target's parameters would be written" in said
    assert "elements" in said
