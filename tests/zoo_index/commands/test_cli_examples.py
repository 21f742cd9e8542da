"""Every example in the help of a command is run, as it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import pytest
import safetensors.torch
import torch
from click.testing import CliRunner
from forked_cli import run_cli
from huggingface_hub import constants
from scripted_hub import Repo, running_hub

from zoo_index.commands.main import cli
from zoo_index.zoo.watching import add_watch
from zoo_index.zoo.zoo import Zoo

ROOT = Path(__file__).parents[3]
NET = """
from torch import nn

def block(ins, outs):
    return nn.Sequential(nn.Conv2d(ins, outs, 3, padding=1), nn.BatchNorm2d(outs), nn.ReLU())

def build_model():
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    return nn.Sequential(block(3, 8), block(8, 16), head)
"""
ENDS_WITH = {"zoo watch check": (0, 4), "zoo watch check mine --json": (0, 4)}
"""Exit statuses that the help of a command names beside 0."""

FRESH = ("zoo add", "zoo watch add")
"""Commands that add what is there already for all others."""

SLOW = re.compile(r"zoo (transfer|index refresh$|explore|serve|add hub|add runs|unpack|pack|.*--server)")
"""In the sweep: each takes more than a second."""


def commands(group: click.Group, path: str) -> Iterator[tuple[str, click.Command]]:
    """Walk through all commands."""
    for name, command in group.commands.items():
        yield f"{path} {name}", command
        if isinstance(command, click.Group):
            yield from commands(command, f"{path} {name}")


def examples(command: click.Command) -> list[str]:
    """Lines of the help that are commands; what stands after # is for people."""
    lines = [line.strip() for line in (command.help or "").splitlines()]
    return [re.sub(r"\s+# .*", "", line) for line in lines if line.startswith("zoo ")]


COMMANDS = {"zoo": cli, **dict(commands(cli, "zoo"))}
EXAMPLES = [
    pytest.param(line, marks=[pytest.mark.slow] if SLOW.match(line) else [], id=line)
    for line in dict.fromkeys(line for command in COMMANDS.values() for line in examples(command))
]


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_has_an_example_of_itself(path: str) -> None:
    command = COMMANDS[path]
    found = examples(command)
    assert found, f"{path} --help shows no example"
    assert all(line.startswith(path) for line in found), found
    assert all(len(line) <= 72 for line in found), "an example is broken on a terminal of 80 columns"
    short = command.get_short_help_str(58)
    assert short
    assert path == "zoo" or not short.endswith("..."), "give it a short_help"


@pytest.mark.parametrize("path", COMMANDS)
def test_every_help_fits_a_terminal_of_80_columns(path: str) -> None:
    done = CliRunner().invoke(cli, [*path.split()[1:], "--help"], terminal_width=80)
    assert done.exit_code == 0
    assert [line for line in done.stdout.splitlines() if len(line) > 80] == []


def test_every_command_can_be_read_by_programs() -> None:
    without = {
        path
        for path, command in commands(cli, "zoo")
        if not isinstance(command, click.Group) and not any("--json" in p.opts for p in command.params)
    }
    assert without == {"zoo serve", "zoo completion"}


@pytest.fixture(scope="module")
def prepared(small_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all that examples name."""
    folder = tmp_path_factory.mktemp("prepared")
    shutil.copy(small_index, folder / "zoo.db")
    shutil.copy(small_index, folder / "fresh.db")
    (folder / "myarch.py").write_text(NET)
    (folder / "old.py").write_text(NET)
    names: dict[str, object] = {}
    exec(NET, names)
    module = names["build_model"]()  # type: ignore[operator]
    safetensors.torch.save_file(module.state_dict(), folder / "old.safetensors")
    torch.save({"state_dict": module.state_dict(), "epoch": 3}, folder / "last.ckpt")
    torch.save(module.state_dict(), folder / "my_weights.pth")
    (folder / "runs").mkdir()
    torch.save(module.state_dict(), folder / "runs" / "first.pth")
    for name in ("results-imagenet.csv", "results.csv"):
        (folder / name).write_text("model,top1\nefficientnet_lite0.ra_in1k,75.5\n")
    zoo = Zoo(folder / "zoo.db")
    zoo.add(folder / "my_weights.pth", "mine")
    add_watch(zoo, zoo.resolved("test_vit"), "mine", None)
    zoo.pack(["mine"], folder / "sources.tar")
    zoo.store.close()
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    made = tmp_path / "work"
    shutil.copytree(prepared, made)
    monkeypatch.chdir(made)
    monkeypatch.setenv("ZOO_DB", str(made / "zoo.db"))
    monkeypatch.setenv("ZOO_PACKED", str(tmp_path / "packed"))
    return made


@pytest.mark.parametrize("line", EXAMPLES)
def test_examples_run(line: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if line.startswith(FRESH):
        monkeypatch.setenv("ZOO_DB", str(folder / "fresh.db"))
    if line == "zoo index refresh":  # starts from the snapshot; all of timm would take an hour
        monkeypatch.setenv("ZOO_DB", str(folder / "new.db"))
    if line.startswith("zoo serve"):
        with served(line):
            return
    with ExitStack() as stack:
        if "hub:" in line:
            stack.enter_context(a_hub(monkeypatch, folder))
        if "--server" in line:
            stack.enter_context(served("zoo serve"))
        done = run_cli(*shlex.split(line)[1:])
    assert done.returncode in ENDS_WITH.get(line, (0,)), done.stderr.decode()
    assert b"Traceback" not in done.stderr


@contextmanager
def a_hub(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Iterator[None]:
    """A hub with a repository, in place of the one that the hub's library knows."""
    monkeypatch.setenv("ZOO_HEADERS", str(folder / "headers"))
    monkeypatch.setenv("NO_PROXY", "*")
    with running_hub() as hub:
        hub.repos["timm/small"] = Repo({"model.safetensors": Path("old.safetensors").read_bytes()})
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        yield


@contextmanager
def served(line: str) -> Iterator[None]:
    """Run a command that does not end by itself, once it says where it listens."""
    code = "from zoo_index.commands.main import main; main()"
    command = [sys.executable, "-c", code, *shlex.split(line)[1:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = next((text for text in process.stdout if "http://" in text), "")
        try:
            assert said
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=60)
