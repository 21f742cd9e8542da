"""Bad input on the command line: one line that helps, the right status, and nothing changed."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner, Result

from transfer.errors import ZooError
from zoo_index.commands.main import cli
from zoo_index.errors import UnknownNameError

ROOT = Path(__file__).parents[3]
NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.fc = nn.Linear(3, width)
"""
EXTRA = """
class Extra(Net):
    def get_extra_state(self):
        return {"calls": 3}

    def set_extra_state(self, state):
        self.calls = state["calls"]

build_model = Extra
"""
TARGETS = {
    "net": NET,
    "raises": NET + "raise RuntimeError('no\\nluck')\n",
    "syntax": NET + "x x\n",
    "exits": NET + "raise SystemExit(0)\n",
    "two": NET + NET.replace("Net", "Other"),
    "arguments": NET.replace("width=4", "width"),
    "empty": "",
    "meta": NET + "model = nn.Linear(3, 4, device='meta')\n",
    "complex": NET + "model = nn.Linear(3, 4, dtype=torch.complex128)\n",
    "half": NET + "model = Net().half()\n",
    "sparse": NET + "model = nn.ParameterDict({'w': nn.Parameter(torch.eye(3).to_sparse())})\n",
    "lazy": NET + "model = nn.LazyLinear(3)\n",
    "bare": NET + "model = nn.ReLU()\n",
    "extra": NET + EXTRA,
}


class Evil:
    """Pickles as a call that makes a file."""

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("marker"),)


def weights() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    return {"fc.weight": torch.rand(4, 3, generator=generator), "fc.bias": torch.rand(4, generator=generator)}


def with_nan() -> dict[str, torch.Tensor]:
    tensors = weights()
    tensors["fc.bias"][2] = float("nan")
    return tensors


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, small_index: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with an index, targets and sources good and bad."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_DB", str(tmp_path / "zoo.db"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    shutil.copy(small_index, "zoo.db")
    for name, text in TARGETS.items():
        Path(f"{name}.py").write_text(text)
    torch.save(weights(), "good.pth")
    torch.save({name: tensor.to(torch.complex64) for name, tensor in weights().items()}, "complex.pth")
    torch.save({name: tensor * 1e30 for name, tensor in weights().items()}, "big.pth")
    torch.save(with_nan(), "nan.pth")
    torch.save({"a": Evil()}, "evil.pth")
    torch.save(Evil(), "evil_legacy.pth", _use_new_zipfile_serialization=False)
    Path("cut.pth").write_bytes(Path("good.pth").read_bytes()[:-200])
    Path("cut.safetensors").write_bytes(safetensors.torch.save(weights())[:-4])
    Path("text.pth").write_text("no weights at all\n")
    Path("out.safetensors").write_bytes(b"old")
    Path("subfolder").mkdir()
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def zoo(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def refused(folder: Path, *arguments: str, code: int = 2) -> str:
    """Run a command that must fail without a trace and return its message."""
    before = contents(folder)
    result = zoo(*arguments)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert result.stderr.startswith("Error: ")
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert contents(folder) == before
    return result.stderr


def assert_says(message: str, *parts: str) -> None:
    for part in parts:
        assert part in message


def transfer(target: str, *arguments: str) -> tuple[str, ...]:
    return ("transfer", "-t", target, "-o", "out.safetensors", *arguments)


def test_good_input_is_not_refused() -> None:
    result = zoo(*transfer("net.py", "-s", "good.pth"))
    assert result.exit_code == 0, result.output
    assert torch.equal(safetensors.torch.load_file("out.safetensors")["fc.weight"], weights()["fc.weight"])


@pytest.mark.parametrize(
    ("target", "parts"),
    [
        ("nosuch.py", ["expected a Python file at 'nosuch.py', found nothing", "check the path"]),
        ("nosuch/net", ["expected a target file, found nothing at 'nosuch/net'"]),
        ("subfolder", ["'subfolder' is a folder", "name the file in it"]),
        ("raises.py", ["it raised RuntimeError: no luck (line 9)", "mend the file"]),
        ("syntax.py", ["it raised SyntaxError: invalid syntax (line 9)"]),
        ("exits.py", ["it called exit(0) (line 9)"]),
        ("two.py", ["found Net, Other", "name one, e.g. two.py:Other, or add a function build_model()"]),
        ("two.py:Third", ["expected 'Third' in 'two.py', found Net, Other"]),
        ("arguments.py", ["Net() in 'arguments.py'", "it needs width", "give them defaults"]),
        ("empty.py", ["expected a network in 'empty.py'", "add a function build_model()"]),
        ("nosuch_module:Net", ["expected an importable module 'nosuch_module'"]),
        ("resnet5O", ["expected a timm architecture, got 'resnet5O'", "did you mean resnet50"]),
        ("good.pth", ["'good.pth' is a checkpoint without a module", "give a Python file"]),
        ("lazy.py", ["lazy 'weight' has none yet", "runs the network once"]),
        ("bare.py", ["expected a network with parameters, got one without any tensor"]),
        ("meta.py", ["got 2 on the meta device (first: 'weight')", "build it on a device"]),
        ("complex.py", ["element types that safetensors can hold", "torch.complex128", "torch.save"]),
        ("sparse.py", ["expected dense tensors", "'w'"]),
        ("extra.py", ["expected", "_extra_state"]),
        ("n" * 300, ["expected"]),
    ],
)
def test_bad_targets(folder: Path, target: str, parts: list[str]) -> None:
    assert_says(refused(folder, *transfer(target, "-s", "good.pth")), *parts)


@pytest.mark.parametrize(
    "target", ["nosuch.py", "two.py", "raises.py", "evil.pth", "cut.pth", "text.pth", "resnet5O"]
)
def test_bad_targets_of_questions(folder: Path, target: str) -> None:
    messages = {
        refused(folder, "recommend", "-t", target),
        refused(folder, "plan", "-t", target, "-s", "good.pth"),
        refused(folder, "similarity", "good.pth", target),
    }
    assert len(messages) == 1
    assert not Path("marker").exists()


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("test_resnett", ["got 'test_resnett'", "did you mean test_resnet"]),
        ("qqqqqq", ["got 'qqqqqq'", "see: zoo list"]),
        ("cut.pth", ["'cut.pth' is damaged", "download it again"]),
        ("cut.safetensors", ["'cut.safetensors' is damaged", "download it again"]),
        ("text.pth", ["'text.pth' is none of these, it starts with b'no weight"]),
        ("evil.pth", ["expected a state dict", "in 'evil.pth'", "'a' and no tensors", "save one with"]),
        ("evil_legacy.pth", ["in 'evil_legacy.pth', found an object of", "no tensors"]),
        ("net.py", ["expected the weights of 'net.py', which is code", "--weights FILE"]),
    ],
)
def test_bad_sources(folder: Path, source: str, parts: list[str]) -> None:
    assert_says(refused(folder, *transfer("net.py", "-s", source)), *parts)
    assert not Path("marker").exists()


@pytest.mark.parametrize("source", ["nosuch.pth", "subfolder/nosuch.safetensors", "subfolder"])
def test_a_source_that_is_no_file_is_called_that(folder: Path, source: str) -> None:
    message = refused(folder, *transfer("net.py", "-s", source))
    assert_says(message, f"'{source}'", "is a folder" if source == "subfolder" else "found nothing")


def test_an_impossible_name(folder: Path) -> None:
    name = "n" * 300
    assert_says(refused(folder, *transfer("net.py", "-s", name)), "expected an entry or architecture")
    for arguments in (
        ("recommend", "-t", name),
        ("plan", "-t", "net.py", "-s", name),
        ("similarity", name, "net.py"),
    ):
        assert_says(refused(folder, *arguments), "expected a timm architecture")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ((), ["expected either --source NAME or --auto, got neither"]),
        (("--auto", "-s", "good.pth"), ["expected either --source NAME or --auto, got both"]),
        (("--auto", "--weights", "good.pth"), ["expected --source with --weights"]),
        (("-s", "test_resnet", "--weights", "nosuch.pth"), ["found nothing at 'nosuch.pth'"]),
        (("-s", "test_resnet", "--weights", "evil.pth"), ["in 'evil.pth', found a dict with 'a' and no tensors"]),
        (("-s", "test_resnet", "--weights", "subfolder"), ["'subfolder'", "is a folder"]),
        (
            ("-s", "good.pth", "--method", "paper"),
            ["method 'paper' expected a network module", "use method 'dpiat'"],
        ),
    ],
)
def test_bad_combinations(folder: Path, arguments: tuple[str, ...], parts: list[str]) -> None:
    assert_says(refused(folder, *transfer("net.py", *arguments)), *parts)
    assert not Path("marker").exists()


@pytest.mark.parametrize(
    ("target", "source", "parts"),
    [
        ("net.py", "nan.pth", ["NaN or infinity in source tensor 'fc.bias'", "--allow-nonfinite"]),
        ("net.py", "complex.pth", ["expected real weights, got complex source tensor 'fc.weight'"]),
        ("half.py", "big.pth", ["within the range of torch.float16", "'fc.weight'", "wider dtype"]),
    ],
)
def test_values_that_do_not_fit(folder: Path, target: str, source: str, parts: list[str]) -> None:
    assert_says(refused(folder, *transfer(target, "-s", source), code=1), *parts)


def test_nan_is_copied_where_it_is_allowed() -> None:
    result = zoo(*transfer("net.py", "-s", "nan.pth", "--allow-nonfinite"))
    assert result.exit_code == 0, result.output
    assert torch.equal(
        safetensors.torch.load_file("out.safetensors")["fc.bias"].isnan(), with_nan()["fc.bias"].isnan()
    )


@pytest.mark.parametrize(
    ("output", "parts"),
    [
        ("out.pth", ["expected an output that ends in .safetensors", "got 'out.pth'"]),
        ("nosuch/out.safetensors", ["expected an existing folder for the output 'nosuch/out", "make it first"]),
        ("net.py/out.safetensors", ["expected an existing folder"]),
        ("subfolder", ["'subfolder' is a folder", "name a file in it"]),
        ("pipe", ["'pipe' is a pipe or a device"]),
        ("o" * 300 + ".safetensors", ["File name too long", "choose another file with --output"]),
    ],
)
def test_bad_outputs(folder: Path, output: str, parts: list[str]) -> None:
    os.mkfifo("pipe")
    assert_says(refused(folder, "transfer", "-t", "net.py", "-s", "good.pth", "-o", output), *parts)
    assert Path("pipe").is_fifo()


def test_places_that_cannot_be_written(folder: Path) -> None:
    Path("subfolder").chmod(0o555)
    if os.access("subfolder", os.W_OK):
        pytest.skip("this user may write anywhere")
    message = refused(folder, "transfer", "-t", "net.py", "-s", "good.pth", "-o", "subfolder/out.safetensors")
    assert_says(message, "'subfolder', it is read-only", "choose another file with --output")
    assert_says(refused(folder, "--db", "subfolder/zoo.db", "add", "good.pth", "--name", "n"), "subfolder/zoo.db")
    Path("good.pth").chmod(0)
    result = zoo(*transfer("net.py", "-s", "good.pth"))
    assert result.exit_code == 2
    assert_says(result.stderr, "Error: ", "Permission denied", "'good.pth'")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("show", "nosuch"), ["got 'nosuch'"]),
        (("show", "test_vitt"), ["did you mean test_vit"]),
        (("add", "nosuch.pth", "--name", "n"), ["found nothing at", "nosuch.pth'; check the path"]),
        (("add", "good.pth", "--name", "test_resnet"), ["'test_resnet' is taken", "zoo show test_resnet"]),
        (("add", "good.pth", "--name", "test_resnet.r160_in1k"), ["sets off a tag"]),
        (("add", "good.pth", "--name", "a/b"), ["expected a name without", "got 'a/b'"]),
        (("add", "good.pth", "--name", ""), ["expected a name"]),
        (("add", "evil.pth", "--name", "n"), ["expected a state dict", "no tensors"]),
        (("add", "cut.pth", "--name", "n"), ["damaged"]),
        (("add", "subfolder", "--name", "n"), ["expected weights files in 'subfolder', found none"]),
        (("recommend", "-t", "good.pth", "--measure", "paper"), ["expected a network module"]),
        (("plan", "-t", "net.py", "-s", "good.pth", "--method", "paper"), ["expected a network module"]),
        (("plan", "-t", "net.py", "-s", "resnet5O"), ["did you mean resnet50"]),
        (("similarity", "nosuch.pth", "net.py"), ["found nothing at 'nosuch.pth'"]),
        (("index", "export", "net.py"), ["expected to write a snapshot to 'net.py'"]),
        (("index", "refresh", "--only", "test_resnett"), ["test_resnett"]),
    ],
)
def test_bad_questions(folder: Path, arguments: tuple[str, ...], parts: list[str]) -> None:
    assert_says(refused(folder, *arguments), *parts)
    assert not Path("marker").exists()


@pytest.mark.parametrize(
    "filters",
    [
        ("--max-params", "1"),
        ("--catalogue", "timm", "--available"),
        ("--family", "resnet", "--search", "vit"),
    ],
)
def test_filters_that_admit_nothing(folder: Path, filters: tuple[str, ...]) -> None:
    for command in (("recommend", "-t", "net.py"), transfer("net.py", "--auto")):
        message = refused(folder, *command, *filters, code=1)
        assert_says(message, "expected sources that pass the filters", filters[-1].strip("-"), "relax them")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("list", "--max-params", "abc"), ["expected a number such as 5000000, 25M or 1.5G, got 'abc'"]),
        (("list", "--min-params", "-3M"), ["got '-3M'"]),
        (("list", "--max-params", "nan"), ["got 'nan'"]),
        (("recommend", "-t", "net.py", "-k", "0"), ["'-k'"]),
        (("recommend", "-t", "net.py", "--measure", "other"), ["'other' is not one of 'dpiat', 'paper'"]),
        (("recommend",), ["Missing option '--target'"]),
        (("add",), ["Missing argument 'CHECKPOINT'"]),
        (("nosuch",), ["No such command 'nosuch'"]),
    ],
)
def test_bad_options(folder: Path, arguments: tuple[str, ...], parts: list[str]) -> None:
    before = contents(folder)
    result = zoo(*arguments)
    assert result.exit_code == 2
    assert_says(result.stderr.splitlines()[-1], "Error: ", *parts)
    assert "Traceback" not in result.output
    assert contents(folder) == before


def all_commands(database: str) -> list[tuple[str, ...]]:
    return [
        ("--db", database, *arguments)
        for arguments in (
            ("list",),
            ("show", "test_vit"),
            ("index", "status"),
            ("index", "verify"),
            ("recommend", "-t", "net.py"),
            ("add", "good.pth", "--name", "n"),
            ("index", "refresh", "--only", "test_vit"),
            transfer("net.py", "-s", "test_resnet"),
        )
    ]


def test_a_database_that_is_none(folder: Path) -> None:
    Path("random.db").write_bytes(random.Random(6).randbytes(5000))
    for arguments in [*all_commands("random.db"), *all_commands("net.py")]:
        assert_says(refused(folder, *arguments), "the index", arguments[1], "not a database", "--db or ZOO_DB")


def test_a_database_of_something_else(folder: Path) -> None:
    with closing(sqlite3.connect("other.db")) as connection:
        connection.execute("CREATE TABLE birds (name TEXT)")
    for arguments in all_commands("other.db"):
        assert_says(refused(folder, *arguments), "expected a zoo index", "birds", "--db or ZOO_DB")


def test_a_database_of_a_newer_version(folder: Path) -> None:
    shutil.copy("zoo.db", "newer.db")
    with closing(sqlite3.connect("newer.db")) as connection, connection:
        connection.execute("UPDATE zoo_alembic_version SET version_num = 'zz_future'")
    for arguments in all_commands("newer.db"):
        assert_says(refused(folder, *arguments), "'newer.db' is at", "zz_future", "upgrade this package")


def test_a_database_that_is_a_folder(folder: Path) -> None:
    for arguments in all_commands("subfolder"):
        assert_says(refused(folder, *arguments), "the index 'subfolder'", "--db or ZOO_DB")


def test_a_database_in_a_place_that_is_no_folder(folder: Path) -> None:
    for arguments in (("add", "good.pth", "--name", "n"), ("index", "refresh", "--only", "test_vit")):
        message = refused(folder, "--db", "net.py/zoo.db", *arguments)
        assert_says(message, "expected to write the index 'net.py/zoo.db'", "--db or ZOO_DB")


def test_debug_shows_where_it_happened(folder: Path) -> None:
    result = zoo("--debug", "show", "nosuch")
    assert isinstance(result.exception, UnknownNameError)
    assert isinstance(result.exception, ZooError)
    done = run_zoo("--debug", "show", "nosuch")
    assert done.returncode == 1
    assert_says(done.stderr, "Traceback (most recent call last)", "UnknownNameError: expected an entry")
    done = run_zoo("show", "nosuch")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: expected an entry")


def run_zoo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {
        key: value for key, value in os.environ.items() if not key.startswith("HF_") or key == "HF_HUB_CACHE"
    }
    return subprocess.run(
        [sys.executable, "-m", "zoo_index", *arguments],
        env={**inherited, "PYTHONPATH": str(ROOT), "NO_PROXY": "127.0.0.1", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({"HF_ENDPOINT": "http://127.0.0.1:9"}, "from http://127.0.0.1:9, which cannot be reached"),
        pytest.param({"HF_HUB_OFFLINE": "1"}, "HF_HUB_OFFLINE is set; unset it", marks=pytest.mark.slow),
    ],
)
def test_no_connection(folder: Path, environment: dict[str, str], reason: str) -> None:
    before = contents(folder)
    done = run_zoo(*transfer("test_vit", "-s", "test_resnet"), **environment)
    assert done.returncode == 2
    assert done.stdout == ""
    assert_says(done.stderr, "'test_resnet.r160_in1k' needs model.safetensors", reason, "--weights FILE")
    assert len(done.stderr.splitlines()) == 1
    assert contents(folder) == before
