"""Files that are none, paths that cannot be, too many tensors, full disks: refused at once, with nothing lost."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import sqlite3
import struct
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from forked_cli import run_cli

from transfer.errors import CheckpointError, InputError
from transfer.weights.checkpoint import open_checkpoint
from transfer.weights.files import open_regular
from zoo_index.commands.main import cli
from zoo_index.database import sqlite
from zoo_index.errors import IndexFileError
from zoo_index.zoo.zoo import Zoo, open_zoo

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, small_index: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    shutil.copy(small_index, "zoo.db")
    monkeypatch.setenv("ZOO_DB", str(tmp_path / "zoo.db"))
    Path("net.py").write_text("from torch import nn\nmodel = nn.Linear(3, 4)\n")
    torch.save({"weight": torch.ones(4, 3), "bias": torch.ones(4)}, "source.pth")
    Path("results.csv").write_text("model,top1\ntest_vit.r160_in1k,60\n")
    return tmp_path


def run(*arguments: str, code: int = 2, before: Callable[[], object] | None = None) -> str:
    """Run a command as a process and return its message."""
    done = run_cli(*arguments, before=before, seconds=60)
    told = done.stderr.decode()
    assert done.returncode == code, told
    assert "Traceback" not in told
    return told


# paths that no file can have -----------------------------------------------------------------------------------

NUL = [
    ("recommend", "-t", "a\0.py"),
    ("recommend", "-t", "a\0.pth"),
    ("recommend", "-t", "a\0"),
    ("plan", "-t", "net.py", "-s", "a\0.safetensors"),
    ("plan", "-t", "a\0.py:Net", "-s", "source.pth"),
    ("similarity", "source.pth", "a\0/b.py"),
    ("transfer", "-t", "net.py", "-s", "source.pth", "-o", "a\0.safetensors"),
    ("transfer", "-t", "net.py", "-s", "test_vit", "--weights", "a\0.pth"),
    ("transfer", "-t", "a\0.py", "-s", "source.pth"),
    ("add", "a\0.pth", "--name", "mine"),
    ("metrics", "import", "a\0.csv"),
    ("metrics", "import", "a\0.csv", "--dataset", "imagenet"),
    ("index", "export", "a\0"),
    ("--db", "a\0.db", "list"),
    ("--db", "a\0.db", "doctor"),
    ("--db", "a\0.db", "index", "refresh", "--only", "test_vit"),
]


@pytest.mark.parametrize("arguments", NUL, ids=map("-".join, NUL))
def test_a_nul_in_a_path(arguments: tuple[str, ...]) -> None:
    before = sorted(Path().iterdir())
    done = CliRunner().invoke(cli, arguments)
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: expected ")
    assert "embedded null" not in done.stderr
    assert done.stderr.removesuffix("\n").isprintable()
    assert sorted(Path().iterdir()) == before


def test_a_nul_in_a_path_given_in_python() -> None:
    with pytest.raises(InputError, match="NUL"):
        open_zoo("a\0")
    with pytest.raises(InputError):
        open_checkpoint("a\0")


# files that are none ------------------------------------------------------------------------------------------


@pytest.fixture(params=["pipe", "folder", "endless", "empty device", "loop", "huge"])
def odd(request: pytest.FixtureRequest, folder: Path) -> Path:
    path = folder / "odd"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "folder":
        path.mkdir()
    elif request.param == "huge":
        path.touch()
        os.truncate(path, 1 << 40)
    else:
        path.symlink_to({"endless": "/dev/zero", "empty device": "/dev/null", "loop": path}[request.param])
    return path


def test_odd_files_as_input(odd: Path) -> None:
    for arguments in (
        ("metrics", "import", str(odd), "--dataset", "imagenet"),
        ("plan", "-t", "net.py", "-s", f"./{odd.name}"),
        ("add", str(odd), "--name", "mine"),
        ("transfer", "-t", "net.py", "-s", "test_vit", "--weights", str(odd)),
    ):
        assert "expected" in run(*arguments)
    if not odd.is_file():
        with pytest.raises(OSError, match=r"pipe|symbolic"):
            open_regular(odd)


def test_odd_files_as_index_of_shards(odd: Path, folder: Path) -> None:
    odd.rename(folder / "model.safetensors.index.json")
    if odd.is_symlink():  # a loop names itself
        return
    assert "expected" in run("plan", "-t", "net.py", "-s", "./")


def test_odd_files_as_database(odd: Path) -> None:
    for arguments in (("list",), ("show", "test_vit")):
        assert "index" in run("--db", str(odd), *arguments)
    run("--db", str(odd), "doctor", code=1 if odd.is_file() or odd.is_dir() else 0)


def test_odd_files_as_vectors(odd: Path, zoo: Zoo) -> None:
    assert len(zoo.view().search.vector_index)
    vectors = zoo.store.vector_path
    vectors.unlink()
    shutil.move(odd, vectors)
    again = Zoo(zoo.store.name)
    assert len(again.view().search.vector_index) == again.status()["embedded"]
    assert again.recommend("test_vit", k=1).results[0].architecture == "test_vit"
    again.verify()


# too many tensors ----------------------------------------------------------------------------------------------

N_MANY = 300_000


def many_safetensors(path: Path) -> None:
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = json.dumps({f"a{i}.weight": empty for i in range(N_MANY)}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


def many_torch(path: Path) -> None:
    empty = torch.empty(0)
    torch.save({f"a{i}.weight": empty for i in range(N_MANY)}, path)


def many_shards(path: Path) -> None:
    Path("part.safetensors").write_bytes(b"x")
    path.write_text(json.dumps({"weight_map": {f"a{i}.weight": "part.safetensors" for i in range(N_MANY)}}))


@pytest.mark.parametrize(
    ("name", "make"),
    [("m.safetensors", many_safetensors), ("m.pth", many_torch), ("m.index.json", many_shards)],
)
def test_too_many_tensors_are_refused_at_once(name: str, make: Callable[[Path], None]) -> None:
    make(Path(name))
    begun = time.process_time()
    with pytest.raises(CheckpointError, match=r"at most 200,000 tensors in .* got 300,000; do not trust this file"):
        open_checkpoint(name)
    assert time.process_time() - begun < 15


# full disks ----------------------------------------------------------------------------------------------------


def limit(n_bytes: int) -> Callable[[], None]:
    """Let no file of a child process grow beyond a size; Python ignores the signal that goes with it."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))


WRITING = [
    ("add", "source.pth", "--name", "mine"),
    ("metrics", "import", "results.csv"),
    ("index", "refresh", "--only", "test_vit2", "-j1"),
]


@pytest.mark.parametrize("arguments", WRITING, ids=map(" ".join, WRITING))
def test_a_file_that_may_not_grow(arguments: tuple[str, ...], folder: Path) -> None:
    with closing(sqlite3.connect("zoo.db")) as connection, connection:
        connection.execute("UPDATE architecture SET features = 0")  # so that there is something to do
    before = Path("zoo.db").read_bytes()
    told = run(*arguments, before=limit(len(before) // 4096 * 1024))
    assert f"expected to write the index '{folder / 'zoo.db'}', the database says: disk I/O error" in told
    assert "make room, or name another file with --db or ZOO_DB" in told
    assert "rollback" not in told
    run("index", "status", code=0)
    with closing(sqlite3.connect("zoo.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def fill(ballast: Path) -> None:
    """Write a file until the disk is full."""
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while file.write(bytes(1 << 12)):
            pass
    with contextlib.suppress(OSError):
        ballast.with_name("rest").write_bytes(bytes(1 << 12))


@pytest.mark.parametrize("arguments", WRITING, ids=" ".join)
def test_a_full_disk(arguments: tuple[str, ...], folder: Path) -> None:
    disk = folder / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], capture_output=True
    ).returncode:
        pytest.skip("this user may not mount")
    try:
        shutil.copy("zoo.db", disk)
        with closing(sqlite3.connect(disk / "zoo.db")) as connection, connection:
            connection.execute("UPDATE architecture SET features = 0")
        fill(disk / "ballast")
        told = run("--db", str(disk / "zoo.db"), *arguments)
        assert f"expected to write the index '{disk / 'zoo.db'}'" in told
        assert "the disk is full" in told
        assert "make room" in told
        assert "rollback" not in told
        (disk / "ballast").unlink()
        (wrong,) = Zoo(disk / "zoo.db").verify()
        assert "of an older standardization" in wrong
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


# a database of no bytes ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_database_of_no_bytes_is_filled(folder: Path) -> None:
    path = folder / "none.db"
    path.write_bytes(b"")
    run("--db", str(path), "index", "status", code=0)
    assert Zoo(path).verify() == []
    whole = folder / "whole.db"
    run("--db", str(whole), "list", code=0)
    contents = []
    for file in (path, whole):
        with closing(sqlite3.connect(file)) as connection:
            schema = "SELECT type, name, tbl_name, sql FROM sqlite_master"
            timm = "SELECT name, fingerprint, n_params, dpiat_items FROM architecture WHERE catalogue = 'timm'"
            contents.append([sorted(map(str, connection.execute(query))) for query in (schema, timm)])
    assert contents[0] == contents[1]
    assert len(contents[0][1]) > 1000


def test_a_database_that_another_process_is_about_to_fill_is_left_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "none.db"
    path.touch()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        other.execute("CREATE TABLE own (name TEXT)")
        assert path.stat().st_size == 0
        monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.1)
        with pytest.raises(IndexFileError, match=r"expected to \w+ the index .* locked"):
            Zoo(path).entries()
        other.execute("COMMIT")
        with pytest.raises(IndexFileError, match="found other tables"):
            Zoo(path).entries()
        assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("own",)]
