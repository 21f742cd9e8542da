"""The commands that look into weights files and convert them, run as processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from forked_cli import run_cli
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

STATE = {"fc.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.tensor([1.0, 2.0])}
OTHER = {name: -tensor for name, tensor in STATE.items()}


class Unknown:
    """An object that no reader knows."""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    moments = {0: {"exp_avg": torch.ones(2, 3), "step": torch.tensor(1.0)}}
    content = {
        "student": STATE,
        "teacher": OTHER,
        "student_ema": OTHER,
        "optimizer": {"state": moments, "param_groups": [{"lr": 0.1}]},
        "args": Unknown(),
    }
    torch.save(content, "w.pth")
    return tmp_path / "w.pth"


def run(*arguments: str, code: int = 0) -> tuple[str, str]:
    done = run_cli(*arguments, seconds=60)
    assert done.returncode == code, done.stderr
    return done.stdout.decode(), done.stderr.decode()


def test_what_a_file_holds_is_shown(file: Path) -> None:
    shown, _ = run("inspect", "w.pth", "--verbose")
    lines = shown.splitlines()
    assert lines[0].startswith("w.pth: torch, ")
    rows = {line.split()[0]: line for line in lines[2:6]}
    assert rows["student"].endswith("taken")
    assert [name for name in rows if rows[name].rstrip().endswith("taken")] == ["student"]
    assert "averaged weights" in rows["student_ema"]
    assert "optimizer" in rows["optimizer"]
    assert any(line.split() == ["fc.weight", "2x3", "float32"] for line in lines)
    assert "--state KEY" in shown


def test_json_tells_all(file: Path) -> None:
    told = json.loads(run("inspect", "w.pth", "--json", "--state", "teacher")[0])
    assert {state["key"]: state["is_taken"] for state in told["states"]} == {
        "student": False,
        "teacher": True,
        "student_ema": False,
        "optimizer": False,
    }
    assert told["tensors"] == [
        {"name": "fc.weight", "shape": [2, 3], "dtype": "float32"},
        {"name": "fc.bias", "shape": [2], "dtype": "float32"},
    ]
    assert told["refusal"] == ""
    optimizer = told["states"][3]
    assert (optimizer["kind"], optimizer["n_tensors"], optimizer["n_values"]) == ("optimizer", 2, 7)


def test_a_file_without_weights_says_why(file: Path) -> None:
    torch.save({"epoch": 3, "args": Unknown()}, "none.pth")
    shown, _ = run("inspect", "none.pth", code=1)
    assert "refused: expected a state dict" in shown
    assert json.loads(run("inspect", "none.pth", "--json", code=1)[0])["states"] == []
    Path("text.pth").write_text("hello")
    assert "none of these" in run("inspect", "text.pth", code=2)[1]
    assert "found nothing" in run("inspect", "nosuch.pth", code=2)[1]


@pytest.mark.parametrize(
    ("options", "expected"), [((), STATE), (("--state", "teacher"), OTHER), (("--ema",), OTHER)]
)
def test_files_are_converted(file: Path, options: tuple[str, ...], expected: dict[str, torch.Tensor]) -> None:
    told = json.loads(run("convert", "w.pth", "-o", "out.safetensors", *options, "--json")[0])
    assert (told["output"], told["tensors"]) == ("out.safetensors", 2)
    found = load_file("out.safetensors")
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        name: tensor.tolist() for name, tensor in expected.items()
    }
    with safe_open("out.safetensors", "np") as opened:
        assert json.loads(opened.metadata()["zoo.order"]) == list(expected)
        assert opened.metadata()["zoo.source"] == "w.pth"


def test_the_order_is_not_claimed_where_it_is_not_known(file: Path) -> None:
    run("convert", "w.pth", "-o", "out.safetensors")
    save_file(load_file("out.safetensors"), "sorted.safetensors")
    run("convert", "sorted.safetensors", "-o", "again.safetensors")
    with safe_open("again.safetensors", "np") as opened:
        assert "zoo.order" not in opened.metadata()


def test_what_cannot_be_converted_leaves_what_was_there(file: Path) -> None:
    Path("out.safetensors").write_bytes(b"old")
    for arguments, words in {
        ("w.pth", "--state", "tutor"): "found 'student', 'teacher', 'student_ema'",
        ("nosuch.pth",): "found nothing",
    }.items():
        assert words in run("convert", *arguments, "-o", "out.safetensors", code=2)[1]
    assert "ends in .safetensors" in run("convert", "w.pth", "-o", "out.pth", code=2)[1]
    assert Path("out.safetensors").read_bytes() == b"old"
    assert sorted(path.name for path in Path().iterdir()) == ["out.safetensors", "w.pth"]


def test_a_transfer_takes_the_state_that_is_named(file: Path) -> None:
    Path("net.py").write_text(
        "from torch import nn\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.fc = nn.Linear(3, 2)\n    def forward(self, x):\n        return self.fc(x)\n"
    )
    shown, _ = run("transfer", "-t", "net.py", "-s", "w.pth", "-o", "out.safetensors")
    assert "takes 'student' of the file, 2 tensors; it also holds 'teacher', 'student_ema'" in " ".join(
        shown.split()
    )
    assert load_file("out.safetensors")["fc.bias"].tolist() == [1.0, 2.0]
    run("transfer", "-t", "net.py", "-s", "w.pth", "-o", "out.safetensors", "--state", "teacher")
    assert load_file("out.safetensors")["fc.bias"].tolist() == [-1.0, -2.0]


def test_a_whole_module_is_a_source(file: Path) -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    torch.save(network, "module.pt")
    Path("net.py").write_text(
        "from torch import nn\nnet = None\ndef build_model():\n"
        "    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))\n"
    )
    run("transfer", "-t", "net.py", "-s", "module.pt", "-o", "out.safetensors")
    found = load_file("out.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in network.state_dict().items())
