"""What people see on a terminal: tables that fit, colours as they are wished, what to do next."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch
from forked_cli import run_cli
from terminals import PLAIN, on_screen, run_in_terminal

from zoo_index.database import copying
from zoo_index.foundation import progress
from zoo_index.reports.page import Page

NET = "from torch import nn\ndef build_model():\n    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4))\n"
LONG = "vit_medium_patch16_reg4_gap_256.sbb_in12k_ft_in1k"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, small_index: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(small_index, "zoo.db")
    monkeypatch.setenv("ZOO_DB", "zoo.db")
    Path("net.py").write_text(NET)
    tensors = {"0.weight": torch.ones(4, 3), "0.bias": torch.ones(4), "1.weight": torch.ones(4, 4)}
    safetensors.torch.save_file(tensors, "old.safetensors")
    return tmp_path


@pytest.mark.parametrize(
    "command",
    [
        (),
        ("list",),
        ("show", "efficientnet_lite0"),
        ("settings",),
        ("index", "status"),
        ("index", "diff"),
        ("inspect", "old.safetensors"),
        ("recommend", "-t", "efficientnet_lite0", "--explain"),
        ("plan", "-t", "net.py", "-s", "old.safetensors"),
        ("plan", "-t", "net.py", "-s", "old.safetensors", "--verbose"),
    ],
    ids=" ".join,
)
def test_everything_fits_a_terminal_of_80_columns(command: tuple[str, ...]) -> None:
    code, sent = run_in_terminal(*command)
    assert code == 0, sent
    lines = on_screen(sent)
    assert all(len(line) <= 80 for line in lines), [line for line in lines if len(line) > 80]
    if command[:1] in (("list",), ("recommend",)):
        assert any("efficientnet_lite0.ra_in1k " in line for line in lines)


@pytest.mark.parametrize(
    "command", [(), ("list",), ("show", "efficientnet_lite0"), ("index", "status")], ids=" ".join
)
def test_a_narrow_terminal_gets_narrow_lines(command: tuple[str, ...]) -> None:
    code, sent = run_in_terminal(*command, columns=60)
    assert code == 0, sent
    assert [line for line in on_screen(sent) if len(line) > 60] == []
    if not command:
        assert "zoo plan --target mynet.py --source NAME\n" in sent.replace("\r", "")


@pytest.mark.parametrize("columns", [60, 80, 100, 150])
def test_columns_are_left_out_before_names_are_broken(columns: int, capsys: pytest.CaptureFixture[str]) -> None:
    class Narrow(Page):
        width = columns

    page = Narrow()
    page._console.width = columns
    header = ("#", "source", "similarity", "paper", "license", "weights")
    rows = [["1", LONG, "0.965", "0.866", "apache-2.0", "here"]]
    page.table(
        header, rows, whole=("source",), drop=("license", "paper", "weights"), short={"similarity": "simil."}
    )
    first, second = capsys.readouterr().out.splitlines()
    assert LONG in second
    assert max(len(first), len(second)) <= columns
    assert ("license" in first) == (columns > 80)
    assert ("similarity" in first) == (columns > 80)
    assert ("weights" in first) == (columns > 60)


def test_piped_output_leaves_nothing_out() -> None:
    done = run_cli("list", "efficientnet_lite0")
    assert b"task" in done.stdout
    assert b"\x1b" not in done.stdout


@pytest.mark.parametrize(
    ("environment", "is_styled"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({"FORCE_COLOR": "0"}, False),
        ({"FORCE_COLOR": "1"}, True),
    ],
)
def test_colours_are_as_they_are_wished(environment: dict[str, str], is_styled: bool) -> None:
    code, sent = run_in_terminal("show", "test_vit", environment=environment)
    assert code == 0
    assert ("\x1b[" in sent.replace("\r\x1b[K", "")) == is_styled


def test_colours_can_be_forced_into_a_pipe() -> None:
    assert b"\x1b[1m" in run_cli("show", "test_vit", environment={**PLAIN, "FORCE_COLOR": "1"}).stdout


def test_the_first_use_shows_how_far_it_is(folder: Path) -> None:
    code, sent = run_in_terminal("--db", "new.db", "list", "resnet50", before=_draw_at_once)
    assert code == 0
    assert "copying the index  [" in sent
    assert "/s  " in sent
    assert " left" in sent
    lines = on_screen(sent)
    assert lines[0] == "made a new index at new.db from the shipped snapshot (1,263 architectures)"
    assert lines[1].startswith("entry")
    assert not any("copying" in line for line in lines)


def _draw_at_once() -> None:
    """Let a fast machine show progress too: it draws what takes half a second, and copies in large parts."""
    progress._PATIENCE, progress._INTERVAL = 0.0, 0.001
    copying._PART = 50


@pytest.mark.parametrize("state", ["index", "none", "damaged", "server"])
def test_zoo_alone_says_what_to_do_next(folder: Path, state: str) -> None:
    database = folder / f"{state}.db"
    if state == "index":
        shutil.copy("zoo.db", database)
    elif state == "damaged":
        database.write_text("none")
    place = "postgresql://me:secret@127.0.0.1:9/zoo" if state == "server" else str(database)
    done = run_cli("--db", place)
    text = done.stdout.decode()
    assert (done.returncode, done.stderr) == (0, b"")
    assert "zoo recommend --target mynet.py" in text
    assert "zoo --help" in text
    said = {
        "index": "pretrained networks of",
        "none": "Index: none yet",
        "damaged": "zoo doctor",
        "server": "postgresql://me:***@127.0.0.1:9/zoo",
    }
    assert said[state] in text
    assert "secret" not in text
    assert database.exists() == (state in ("index", "damaged"))
    assert os.path.getsize("zoo.db") > 0


@pytest.mark.parametrize("arguments", [("recommend",), ("plan", "-t", "net.py"), ("show",)])
def test_a_call_that_lacks_something_gets_an_example(arguments: tuple[str, ...]) -> None:
    done = run_cli(*arguments)
    assert done.returncode == 2
    assert f"For example: zoo {arguments[0]} " in done.stderr.decode()


def test_show_is_for_people() -> None:
    text = run_cli("show", "efficientnet_lite0").stdout.decode()
    for part in ("parameters", "3x224x224", "classes", "license", "to be fetched", "next: zoo plan --source"):
        assert part in text
    for part in ("fingerprint", "architecture_id", "modified_ns", "None"):
        assert part not in text
    assert b"fingerprint" in run_cli("show", "efficientnet_lite0", "--json").stdout


def test_recommend_ends_in_a_sentence_and_explains_itself_when_asked() -> None:
    text = run_cli("recommend", "-t", "efficientnet_lite0").stdout.decode()
    *_, verdict, hint = text.splitlines()
    assert verdict.startswith("Use efficientnet_lite0")
    assert verdict.endswith("of your network; expect a strong head start.")
    assert hint.startswith("why: --explain; next: zoo transfer -t efficientnet_lite0 --source efficientnet_lite0")
    assert "pairs of small networks" not in text
    text = run_cli("recommend", "-t", "efficientnet_lite0", "--explain").stdout.decode()
    assert "pairs of small networks" in text
    assert "compared exactly by the measure dpiat" in text
    assert text.splitlines()[-2].startswith("Use ")
