"""Pipes without a reader, closed and full streams: the command ends quietly, or says what is wrong."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
COMMANDS = (
    ("list",),
    ("list", "--json"),
    ("show", "test_vit"),
    ("index", "status"),
    ("index", "verify"),
    ("recommend", "-t", "test_vit"),
    ("similarity", "test_vit", "test_vit2"),
    ("doctor",),
    ("--help",),
    ("list", "--help"),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, small_index: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(small_index, "zoo.db")
    monkeypatch.setenv("ZOO_DB", str(tmp_path / "zoo.db"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


def shell(arguments: tuple[str, ...], rest: str) -> tuple[int, str]:
    """Run a command with what a shell does to its streams; return its own status and what came on stderr."""
    command = shlex.join([sys.executable, "-m", "zoo_index", *arguments])
    script = f"{command} {rest}\nexit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=120)
    return done.returncode, done.stderr


@pytest.mark.parametrize("arguments", COMMANDS, ids=shlex.join)
@pytest.mark.parametrize("rest", ["| true", ">&-", ">&- 2>&-", "<&-"])
def test_a_reader_that_has_gone_is_no_error(arguments: tuple[str, ...], rest: str) -> None:
    assert shell(arguments, rest) == (0, "")


def test_the_first_line_is_all_that_is_read() -> None:
    assert shell(("list",), "| head -1") == (0, "")
    assert shell(("index", "refresh", "--only", "test_vit", "-j1"), "2>&1 | head -1")[0] == 0


def test_errors_keep_their_status() -> None:
    for rest in ("| true", ">&-", "2>&-", "2>&1 | true", ">&- 2>&-"):
        assert shell(("show", "nosuch"), rest)[0] == 2


def test_a_closed_stream_does_not_lead_into_the_database(folder: Path) -> None:
    before = Path("zoo.db").read_bytes()
    for rest in (">&-", "2>&-", "<&- >&- 2>&-"):
        shell(("show", "nosuch"), rest)
        shell(("list",), rest)
    assert Path("zoo.db").read_bytes() == before


def test_a_full_disk_behind_stdout() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    code, told = shell(("list",), "> /dev/full")
    assert code == 1
    assert told == "Error: expected room for what is printed, got: No space left on device; print it elsewhere\n"
