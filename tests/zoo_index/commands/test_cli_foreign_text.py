"""Text from outside on the command line: no command dies of it, and nothing of it steers the terminal."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
import safetensors.torch
import torch
from click.testing import CliRunner
from forked_cli import run_cli
from rich.cells import cell_len

from zoo_index.commands.main import cli
from zoo_index.reports.page import Page

ROOT = Path(__file__).parents[3]
EVIL = "[/b][red]\x1b[31m\x1b]0;title\x07\x9b2J :smile:\r\n\u202e\u200b\x00漢字"
SHOWN = "[/b][red]\\x1b[31m\\x1b]0;title\\x07\\x9b2J :smile:\\r\\n\\u202e\\u200b\\x00漢字"
FILE = os.fsdecode(b"ev\x1b[31m[b]\n\xff.safetensors")
ODD = "ev\x1b[31m[b]\n漢.safetensors"
NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 4)

    def forward(self, x):
        return self.fc(x)
"""
CLASS = EVIL.replace("\x00", "")  # which no class may have in its name
NAMED = NET + f"\nEvil = type({CLASS!r}, (Net,), {{}})\ndef build_model():\n    return Evil()\n"
NAMES = NET + "\nmodel = nn.Sequential()\nmodel.add_module('\\udcff\\x1b[31m', Net())\n"
RAISES = NET + f"\ndef build_model():\n    raise RuntimeError({EVIL!r})\n"


def put(connection: sqlite3.Connection, table: str, **values: object) -> None:
    names = ", ".join(values)
    places = ", ".join("?" * len(values))
    connection.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", tuple(values.values()))


def poison(path: Path) -> None:
    """Put hostile text into every column of text that is shown."""
    with closing(sqlite3.connect(path)) as connection, connection:
        texts = dict.fromkeys(("license", "family", "tag", "input_size"), EVIL)
        (architecture,) = connection.execute("SELECT id FROM architecture WHERE name = 'test_vit2'").fetchone()
        row = connection.execute("SELECT * FROM entry WHERE architecture_id = ?", (architecture,))
        columns = [column[0] for column in row.description]
        entry = dict(zip(columns, row.fetchone(), strict=True)) | texts
        entry |= {"id": 10**6, "name": EVIL, "hub_id": EVIL, "url": f"https://127.0.0.1:9/{EVIL}", "position": 9}
        put(connection, "entry", **entry)
        connection.execute(f"UPDATE entry SET {', '.join(f'{name} = ?' for name in texts)}", tuple(texts.values()))
        connection.execute(
            "UPDATE architecture SET name = ?, fingerprint = ? WHERE name = 'test_convnext'", [EVIL] * 2
        )
        connection.execute("UPDATE architecture SET catalogue_version = ? WHERE name = 'test_vit'", [EVIL])
        connection.execute("UPDATE run SET detail = ?, status = ?", [EVIL] * 2)
        put(connection, "metric", dataset=EVIL, name=EVIL, top1=50.0)
        put(connection, "failure", catalogue=EVIL, name=EVIL, catalogue_version=EVIL, error=EVIL)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, small_index: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_DB", str(tmp_path / "zoo.db"))
    shutil.copy(small_index, "zoo.db")
    poison(tmp_path / "zoo.db")
    shutil.copy(small_index, "clean.db")
    Path("net.py").write_text(NET)
    Path("named.py").write_text(NAMED)
    Path("names.py").write_text(NAMES)
    Path("raises.py").write_text(RAISES)
    tensors = {f"{EVIL}.fc.weight": torch.ones(4, 3), f"{EVIL}.fc.bias": torch.ones(4)}
    safetensors.torch.save_file(tensors, "evil.safetensors")
    torch.save({"\udcff\x1b[31m.fc.weight": torch.ones(4, 3), "\udcff\x1b[31m.fc.bias": torch.ones(4)}, "evil.pth")
    shutil.copy("evil.safetensors", FILE)
    shutil.copy("evil.safetensors", ODD)
    Path(FILE + ".py").write_text(NAMED)
    Path("damaged\x1b[31m.pth").write_text(EVIL)
    name = "test_vit.r160_in1k"
    Path("results.csv").write_text(f"model,top1\n{name},60\nother\u0301 漢字,50\n")
    Path("evil.csv").write_text(f'model,top1\n{name},60\n"{EVIL.replace(chr(0), "")}",50\n')
    shutil.copy("results.csv", os.fsdecode(b"results-\x1b[31m\xff.csv"))
    return tmp_path


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return run_cli(*arguments, environment={"HF_ENDPOINT": "http://127.0.0.1:9", **environment})


def printed(*arguments: str, codes: tuple[int, ...] = (0,), **environment: str) -> str:
    """Run a command, hold its output against what a terminal must not be sent, and return it."""
    done = run(*arguments, **environment)
    assert done.returncode in codes, done.stderr
    for stream in (done.stdout, done.stderr):
        for line in stream.decode().split("\n"):
            assert line.isprintable(), line
    assert b"Traceback" not in done.stderr
    return (done.stdout + done.stderr).decode()


COMMANDS = {
    "list": (("list",), (0,)),
    "show": (("show", "test_vit2"), (0,)),
    "recommend": (("recommend", "-t", "test_vit2"), (0,)),
    "recommend for a file": (("recommend", "-t", "named.py"), (0,)),
    "recommend for a file of an odd name": (("recommend", "-t", FILE + ".py"), (0,)),
    "recommend with odd filters": (("recommend", "-t", "test_vit", "--license", EVIL[:20]), (1,)),
    "similarity": (("similarity", "evil.safetensors", "named.py"), (0,)),
    "plan": (("plan", "-t", "named.py", "-s", "evil.safetensors"), (0,)),
    "plan in full": (("plan", "-t", "net.py", "-s", "evil.safetensors", "--verbose"), (0,)),
    "plan from surrogates": (("plan", "-t", "net.py", "-s", "evil.pth", "--verbose"), (0,)),
    "plan from an odd name": (("plan", "-t", "net.py", "-s", ODD), (0,)),
    "plan from a name that is no text": (("plan", "-t", "net.py", "-s", FILE), (2,)),
    "plan from damage": (("plan", "-t", "net.py", "-s", "damaged\x1b[31m.pth"), (2,)),
    "plan for what raises": (("plan", "-t", "raises.py", "-s", "evil.safetensors"), (2,)),
    "transfer": (("transfer", "-t", "named.py", "-s", ODD, "-o", FILE + ".safetensors"), (0,)),
    "transfer from surrogates": (("transfer", "-t", "net.py", "-s", "evil.pth", "--verbose"), (0,)),
    "transfer to names that are no text": (("transfer", "-t", "names.py", "-s", ODD, "--min-coverage", "0"), (2,)),
    "transfer to nowhere": (("transfer", "-t", "net.py", "-s", ODD, "-o", "\x1b[31m/out"), (2,)),
    "transfer from the hub": (("transfer", "-t", "net.py", "-s", "test_vit2"), (2,)),
    "index status": (("index", "status"), (0,)),
    "index verify": (("index", "verify"), (1,)),
    "index refresh": (("index", "refresh", "--only", "test_vit2", "-j1"), (0,)),
    "index refresh of nothing": (("index", "refresh", "--only", "\x1b[31m"), (2,)),
    "index export": (("index", "export", "net.py/\x1b[31m"), (2,)),
    "doctor": (("doctor",), (0, 1)),
    "metrics import": (("metrics", "import", "results.csv"), (0,)),
    "metrics import of an odd name": (("metrics", "import", os.fsdecode(b"results-\x1b[31m\xff.csv")), (2,)),
    "metrics import of odd names": (("metrics", "import", "evil.csv"), (2,)),
    "add": (("add", "evil.safetensors", "--name", "mine", "--license", "[/b] 漢字"), (0,)),
    "add of an odd file": (("add", FILE, "--name", "mine"), (2,)),
    "a database of an odd name": (("--db", FILE, "list"), (2,)),
    "a name that is no text": (("show", os.fsdecode(b"\xff\x1b[31m")), (2,)),
    "an odd option": (("list", "--\x1b[31m"), (2,)),
    "odd arguments": (("show", "a", "\x1b[31m\n"), (2,)),
    "an odd command": (("\x1b[31m",), (2,)),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_nothing_steers_the_terminal(case: str) -> None:
    arguments, codes = COMMANDS[case]
    printed(*arguments, codes=codes)


def test_foreign_text_is_shown_and_not_obeyed() -> None:
    everything = printed("list")
    assert SHOWN in everything
    assert SHOWN in printed("show", "test_vit2", COLUMNS="300")
    assert "[/b] 漢字" in printed("add", "evil.safetensors", "--name", "mine", "--license", "[/b] 漢字") + printed(
        "list"
    )


@pytest.mark.parametrize(
    "command", [("list",), ("show", "test_vit2"), ("index", "status"), ("recommend", "-t", "test_vit")]
)
def test_documents_stay_whole(command: tuple[str, ...]) -> None:
    done = run(*command, "--json")
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert EVIL in strings(json.loads(done.stdout))


def strings(value: object) -> set[str]:
    if isinstance(value, dict):
        return set().union(*map(strings, value.values()))
    if isinstance(value, list):
        return set().union(*map(strings, value))
    return {value} if isinstance(value, str) else set()


def test_what_is_no_text_is_called_that() -> None:
    assert "name is text, got 'ev\\x1b[31m[b]\\n\\udcff.safetensors'" in printed(
        *COMMANDS["plan from a name that is no text"][0], codes=(2,)
    )
    assert "expected an entry or architecture of the index, got '\\udcff" in printed(
        *COMMANDS["a name that is no text"][0], codes=(2,)
    )


def test_lone_surrogates_in_a_document() -> None:
    done = run("plan", "-t", "net.py", "-s", "evil.pth", "--json")
    assert done.returncode == 0
    assert "\udcff\x1b[31m.fc.weight" in strings(json.loads(done.stdout))


def test_an_output_that_knows_few_letters() -> None:
    done = run("list", PYTHONIOENCODING="ascii", LC_ALL="C")
    assert done.returncode == 0
    assert b"\\u6f22" in done.stdout


def test_tracebacks_are_plain_too() -> None:
    done = run("--debug", "plan", "-t", "raises.py", "-s", "evil.safetensors")
    assert done.returncode == 1
    assert b"Traceback" in done.stderr
    assert all(line.isprintable() for line in done.stderr.decode().split("\n"))


@pytest.mark.parametrize("name", [EVIL, "two\nlines", "\x1b[31m", "a" * 201, "\udcff"])
@pytest.mark.parametrize("option", ["--name", "--license", "--family", "--dataset"])
def test_names_are_checked_when_they_are_added(name: str, option: str) -> None:
    name = name.replace("\x00", "")
    before = Path("clean.db").read_bytes()
    if option == "--dataset":
        arguments = ["metrics", "import", "results.csv", option, name]
    else:
        given = {"--name": "mine", option: name.translate(dict.fromkeys(map(ord, "/\\:.")))}
        arguments = ["add", "evil.safetensors", *(word for pair in given.items() for word in pair)]
    done = CliRunner().invoke(cli, ["--db", "clean.db", *arguments])
    assert (done.exit_code, done.stdout) == (2, "")
    told = done.stderr.removesuffix("\n")
    assert told.isprintable()
    assert told.startswith("Error: expected a")
    assert "printable characters" in told or "at most 200 characters" in told
    assert Path("clean.db").read_bytes() == before


@pytest.mark.parametrize("width", [20, 40, 80])
def test_tables_hold_wide_letters(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zoo_index.reports.page._WIDTH", width)
    page = Page()
    page.table(("name", "n"), [["漢字" * 30, "1"], ["e\u0301" * 9, "22"], [[("ab", "red"), "漢"], "3"]], ["n"])
    page.pairs([("key", "漢字" * 40)])
    shown = capsys.readouterr().out
    assert shown.count("漢") == 30 + 1 + 40
    assert all(cell_len(line) <= width for line in shown.splitlines())


def test_plain_columns_hold_wide_letters(capsys: pytest.CaptureFixture[str]) -> None:
    Page().columns(("name", "n"), [("漢字", "1"), ("abcdef", "2")])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["name    n", "漢字    1", "abcdef  2"]
