"""What the command line says of a transfer: was it one, and does the target compute what the source does?"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import load_file
from torch import nn

import transfer
import zoo_index
from transfer.errors import CoverageError, InputError, TargetError
from transfer.tracing.given import given_example
from zoo_index.catalogues.timm_catalogue import build_without_weights
from zoo_index.commands.main import cli
from zoo_index.recommending.targets import build_target, open_target
from zoo_index.zoo.zoo import Zoo

NETWORK = """
import timm
import torch
from torch import nn

def same():
    return timm.create_model("test_resnet")

def classes():
    return timm.create_model("test_resnet", num_classes=7)

def alien():
    return nn.Sequential(nn.Conv2d(3, 16, 3), nn.GRU(3000, 500, 3))

class Odd(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.fc = nn.Linear(5 * 9, width)

    def forward(self, image, scale):
        return self.fc(image.flatten(1)) * scale

class Placed(nn.Module):
    def __init__(self, n_classes=7):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(2))
        torch.manual_seed(0)
        self.scale = nn.Parameter(torch.full((1,), 2.0))
        nn.init.normal_(self.scale)
        drawn = torch.rand(62 * 62) * self.scale.detach()  # other numbers if no parameter was drawn before
        self.register_buffer("weight", drawn, persistent=False)
        self.fc = nn.Linear(16, n_classes)

    def forward(self, x):
        return self.fc(self.body(x) @ self.weight)

def placed():
    return Placed(9)

"""
EXAMPLE = """
def example_input():
    return torch.rand(2, 1, 5, 9), 3.0
"""


@pytest.fixture
def folder(tmp_path: Path, small_index: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with an index, targets, and weights of test_resnet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_DB", str(tmp_path / "zoo.db"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    shutil.copy(small_index, "zoo.db")
    Path("net.py").write_text(NETWORK)
    Path("own.py").write_text(NETWORK + EXAMPLE)
    torch.manual_seed(3)
    torch.save(build_target("test_resnet").state_dict(), "weights.pth")
    torch.save(build_target("net.py:Odd").state_dict(), "odd.pth")
    return tmp_path


def zoo(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


SOURCE = ("-s", "test_resnet", "--weights", "weights.pth", "--device", "cpu", "-o", "out.safetensors")


def test_a_table_and_json_say_what_the_target_computes(folder: Path) -> None:
    command = [sys.executable, "-m", "zoo_index", "transfer", "-t", "net.py:same", *SOURCE]
    process = subprocess.run(command, capture_output=True, text=True, timeout=250)
    assert process.returncode == 0, process.stderr
    assert "function  equal: outputs " in process.stdout
    done = zoo("transfer", "-t", "net.py:classes", *SOURCE, "--json")
    found = json.loads(done.stdout)["function"]
    assert found["verdict"] == "equal"
    assert found["difference"] < 1e-4
    assert "1x1000 and 1x7" in found["reason"]


def test_without_verifying_nothing_is_said(folder: Path) -> None:
    done = zoo("transfer", "-t", "net.py:same", *SOURCE, "--no-verify")
    assert done.exit_code == 0
    assert "function" not in done.stdout
    done = zoo("transfer", "-t", "net.py:same", *SOURCE, "--no-verify", "--json")
    assert json.loads(done.stdout)["function"] is None


@pytest.mark.parametrize("form", [(), ("--json",)])
@pytest.mark.parametrize(
    ("target", "options", "said"),
    [
        ("net.py:alien", (), "at least 1% of the target, 'test_resnet.r160_in1k' fills 0."),
        ("net.py:classes", ("--min-coverage", "0.9999"), "at least 99.99% of the target"),
    ],
)
def test_a_transfer_of_too_little_is_no_success(
    folder: Path, form: tuple[str, ...], target: str, options: tuple[str, ...], said: str
) -> None:
    Path("out.safetensors").write_bytes(b"old")
    done = zoo("transfer", "-t", target, *SOURCE, *options, *form)
    assert done.exit_code == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: expected to fill ")
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr
    assert "take another source (zoo recommend), or a smaller min_coverage (--min-coverage)" in done.stderr
    assert Path("out.safetensors").read_bytes() == b"old"


def test_the_least_coverage_can_be_chosen(folder: Path) -> None:
    for target, least in (("net.py:alien", "0"), ("net.py:classes", "0.5"), ("net.py:same", "1")):
        done = zoo("transfer", "-t", target, *SOURCE, "--min-coverage", least)
        assert done.exit_code == 0, done.stderr
        assert load_file("out.safetensors")


@pytest.mark.parametrize("least", ["-0.1", "1.5", "90", "nan", "inf", "much", "90%"])
def test_a_least_coverage_is_a_share(folder: Path, least: str) -> None:
    done = zoo("transfer", "-t", "net.py:same", *SOURCE, "--min-coverage", least)
    assert done.exit_code == 2
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr
    assert not Path("out.safetensors").exists()


def test_in_python_a_model_that_would_be_filled_too_little_is_unchanged(folder: Path) -> None:
    def warm(model: nn.Module, **options: float) -> None:
        Zoo(Path("zoo.db")).transfer(model, "test_resnet", weights="weights.pth", **options)  # type: ignore[arg-type]

    model = build_target("net.py:classes")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(CoverageError):
        warm(model, min_coverage=0.9999)
    with pytest.raises(CoverageError):
        zoo_index.warm_start(model, "weights.pth", min_coverage=0.9999, db="zoo.db")
    with pytest.raises(InputError):
        zoo_index.warm_start(model, "weights.pth", min_coverage=90, db="zoo.db")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    with pytest.raises(CoverageError):
        warm(build_target("net.py:alien"))
    report = zoo_index.warm_start(model, "weights.pth", min_coverage=0.5, verify=False, db="zoo.db")
    assert report.coverage > 0.5
    assert report.function is None


def test_code_may_say_what_its_network_takes(folder: Path) -> None:
    options = ("-s", "odd.pth", "-o", "out.safetensors", "--device", "cpu", "--json")
    found = json.loads(zoo("transfer", "-t", "own.py:Odd", *options).stdout)["function"]
    assert found["verdict"] == "equal"
    found = json.loads(zoo("transfer", "-t", "net.py:Odd", *options).stdout)["function"]
    assert found["verdict"] == "unknown"
    assert "example=, or --input" in found["reason"]
    example = given_example(open_target("own.py:Odd"))  # type: ignore[arg-type]
    assert example is not None
    assert example.described() == "2x1x5x9"


def test_what_the_user_says_comes_first(folder: Path) -> None:
    Path("image.py").write_text(NETWORK.replace(", scale)", ", scale=1)") + EXAMPLE)
    example = given_example(build_target("image.py:Odd", example="1x9x5"))
    assert example is not None
    assert example.described() == "1x1x9x5"
    for command in (("plan", "-s", "odd.pth", "-t"), ("recommend", "-t"), ("similarity", "odd.pth")):
        done = zoo(*command, "image.py:Odd", "--input", "1x5x9", "--json")
        assert done.exit_code == 0, done.stderr
        json.loads(done.stdout)


@pytest.mark.parametrize(
    "command", [("plan", "-s", "odd.pth", "-t"), ("recommend", "-t"), ("similarity", "odd.pth")]
)
@pytest.mark.parametrize(
    ("target", "sizes", "said"),
    [
        ("net.py:Odd", "1x5x9", "missing 1 required positional argument: 'scale'"),
        ("net.py:same", "3x", "expected sizes of an input without the batch"),
        ("net.py:same", "5x64x64", "expected an input that ResNet takes, on 1x5x64x64 it raised RuntimeError"),
        ("test_vit", "3x5000x5000", "expected an input that VisionTransformer takes"),
        ("weights.pth", "3x64x64", "'weights.pth' is a checkpoint"),
    ],
)
def test_bad_sizes(folder: Path, command: tuple[str, ...], target: str, sizes: str, said: str) -> None:
    if command[0] != "plan" and target != "weights.pth":
        pytest.skip("one command stands for all that build their target")
    done = zoo(*command, target, "--input", sizes)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("example_input = 3", "to be a function that returns what the network takes, got int"),
        ("def example_input(n):\n    return n", "example_input() in 'bad.py' to need no arguments, it needs n"),
        ("def example_input():\n    return 1 / 0", "it raised ZeroDivisionError: division by zero (line"),
        ("def example_input():\n    return None", "expected an example input, got NoneType"),
        ("def example_input():\n    return torch.rand(1, 5, 9)", "missing 1 required positional argument"),
    ],
)
def test_bad_examples_of_code(folder: Path, code: str, said: str) -> None:
    Path("bad.py").write_text(NETWORK + code + "\n")
    with pytest.raises(TargetError) as caught:
        build_target("bad.py:Odd")
    assert said in str(caught.value)
    assert "bad.py" in str(caught.value)


def test_weights_are_proven_with_the_code_that_made_them(folder: Path) -> None:
    torch.save(build_target("net.py:classes").state_dict(), "classes.pth")
    alone = zoo("transfer", "-t", "net.py:same", "-s", "classes.pth", "-o", "a.safetensors", "--json")
    assert json.loads(alone.stdout)["function"]["verdict"] == "unknown"
    assert "-s net.py:Net --weights FILE" in json.loads(alone.stdout)["function"]["reason"]
    for target in ("net.py:same", "test_resnet"):  # the code of the source is contained in either case
        named = ("-s", "net.py:classes", "--weights", "classes.pth", "-o", "b.safetensors", "--json")
        made = json.loads(zoo("transfer", "-t", target, *named).stdout)
        assert (made["function"]["verdict"], made["source"]) == ("equal", "net.py:classes")
    assert load_file("a.safetensors").keys() == load_file("b.safetensors").keys()


def test_code_computes_what_its_weights_do_not_hold(folder: Path) -> None:
    torch.save(build_target("net.py:Placed").state_dict(), "placed.pth")
    named = ("-s", "net.py:Placed", "--weights", "placed.pth", "-o", "b.safetensors", "--json")
    made = json.loads(zoo("transfer", "-t", "net.py:placed", "--input", "3x64x64", *named).stdout)
    assert made["function"]["verdict"] == "equal"
    assert "read" in made["function"]["reason"]  # of other classes


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            (),
            "the weights of 'net.py:classes', which is code; give the file that holds them: --weights FILE",
        ),
        (("--weights", "odd.pth"), "with 'conv1.0.weight' of shape (16, 3, 3, 3), 'odd.pth' has no tensor of that"),
        (
            ("--weights", "weights.pth"),
            "with 'fc.weight' of shape (7, 96), 'weights.pth' has one of shape (1000, 96)",
        ),
        (("--weights", "weights.pth", "--license", "mit"), "'net.py:classes' is code, of which nothing is known"),
    ],
)
def test_code_that_did_not_make_the_weights_is_refused(folder: Path, arguments: tuple[str, ...], said: str) -> None:
    done = zoo("transfer", "-t", "net.py:same", "-s", "net.py:classes", "-o", "out.safetensors", *arguments)
    assert done.exit_code == 2
    assert said in done.stderr
    assert not Path("out.safetensors").exists()


def test_an_entry_with_tables_is_proven(folder: Path) -> None:
    """Its position tables are computed by its code and not in its file."""
    torch.manual_seed(0)
    model = build_target("eva02_tiny_patch14_224")
    torch.save(model.state_dict(), "eva.pth")
    structure = build_without_weights("eva02_tiny_patch14_224")
    report = transfer.transfer("eva.pth", build_target("eva02_tiny_patch14_224"), source_structure=structure)
    assert report.function is not None
    assert (report.function.verdict, report.function.reason) == ("equal", "")
