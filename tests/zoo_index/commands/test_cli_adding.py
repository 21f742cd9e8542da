"""One weights file is one source, however often it is added, and copies of it are told."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from nets import mlp
from safetensors.torch import save_file

from zoo_index.catalogues.description import FEATURES
from zoo_index.commands.main import cli
from zoo_index.engines import open_engine
from zoo_index.zoo.doctor import examine
from zoo_index.zoo.zoo import Zoo


@pytest.fixture(autouse=True)
def folder(zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a weights file and an index."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_DB", zoo.store.name)
    torch.save(mlp(3, 4, 2).state_dict(), "best.pth")
    return tmp_path


def run(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == code, done.output
    return done.output


def listed() -> dict[str, Any]:
    entries = json.loads(run("list", "--catalogue", "local", "--json"))["entries"]
    return {entry["name"]: entry for entry in entries}


def test_a_file_that_is_added_again_stays_one_entry(zoo: Zoo) -> None:
    assert run("add", "best.pth", "--license", "mit", "--family", "mine").startswith("added best: ")
    torch.save(mlp(3, 4, 5).state_dict(), "best.pth")
    assert run("add", "./best.pth").startswith("brought up to date best: ")
    entry = listed()["best"]
    assert (list(listed()), entry["n_classes"]) == (["best"], 5)
    assert (entry["license"], entry["family"]) == ("mit", "mine")
    assert [result.name for result in zoo.recommend("best.pth", k=20).results].count("best") == 1
    assert zoo.verify() == []


def test_another_name_for_a_file_takes_the_place_of_the_first(zoo: Zoo) -> None:
    run("add", "best.pth", "--license", "mit")
    said = run("add", "best.pth", "--name", "mine")
    assert said.startswith("added mine: ")
    assert "it takes the place of best, which was the same file" in said
    assert {name: entry["license"] for name, entry in listed().items()} == {"mine": "mit"}
    assert "brought up to date mine: " in run("add", "best.pth")  # it has a name already
    os.symlink("best.pth", "last.pth")
    assert "brought up to date mine: " in run("add", "last.pth")
    assert list(listed()) == ["mine"]
    assert zoo.verify() == []


def test_a_name_that_another_file_has_is_refused() -> None:
    shutil.copy("best.pth", "other.pth")
    run("add", "best.pth")
    assert "'best' is taken" in run("add", "other.pth", "--name", "best", code=2)
    assert listed()["best"]["path"].endswith("best.pth")


def test_of_a_copy_the_names_of_what_holds_the_same_are_told() -> None:
    run("add", "best.pth")
    shutil.copy("best.pth", "copy.pth")
    said = run("add", "copy.pth")
    assert "the same content is already there as best: both will be recommended" in said
    assert "to take this one out: zoo remove copy" in said
    assert json.loads(run("add", "best.pth", "--json"))["alike"] == ["copy"]
    Path("copy.pth").unlink()
    assert "same content" not in run("add", "best.pth")


def test_files_of_the_same_size_are_told_apart() -> None:
    state = mlp(3, 4, 2).state_dict()
    save_file(state, "one.safetensors")
    save_file({name: tensor + 1 for name, tensor in state.items()}, "other.safetensors")
    assert Path("one.safetensors").stat().st_size == Path("other.safetensors").stat().st_size
    run("add", "one.safetensors")
    assert "same content" not in run("add", "other.safetensors")


def warned(*arguments: str) -> str:
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    return done.stderr


@pytest.mark.parametrize("how", ["larger", "as large", "no weights", "no tensors"])
def test_a_file_that_was_written_again_is_told_until_it_is_added_again(how: str) -> None:
    torch.save(mlp(3, 4, 2).state_dict(), "target.pth")
    save_file(mlp(3, 4, 2).state_dict(), "mine.safetensors")
    run("add", "mine.safetensors")
    path = Path("mine.safetensors").resolve()
    asked = (
        ("recommend", "-t", "target.pth", "-k", "1"),
        ("list", "--catalogue", "local"),
        ("list", "--catalogue", "local", "--json"),
        ("show", "mine"),
    )
    assert {warned(*one) for one in asked} == {""}
    if how == "no weights":
        path.write_text("no weights\n")
    else:
        tensors = {"no tensors": {}, "larger": mlp(3, 9, 2).state_dict(), "as large": mlp(3, 4, 2).state_dict()}[
            how
        ]
        save_file(tensors, path)
        os.utime(path, ns=(0, 1))  # another time, also where clocks are coarse
    told = f"Warning: '{path}' was written again since the index read it; run: zoo add {path}\n"
    assert {warned(*one) for one in asked} == {told}
    assert "1  mine " in run("recommend", "-t", "target.pth", "-k", "1")  # known by what it held
    if "large" in how:
        run("add", "mine.safetensors")
        assert {warned(*one) for one in asked} == {""}


def test_a_file_that_is_gone_or_was_added_by_an_older_version_has_not_changed(zoo: Zoo) -> None:
    run("add", "best.pth")
    with sqlite3.connect(zoo.store.name) as raw:
        raw.execute("UPDATE entry SET modified_ns = NULL WHERE name = 'best'")
    os.utime("best.pth", ns=(0, 1))
    assert warned("show", "best") == ""
    Path("best.pth").write_bytes(b"")
    assert "was written again" in warned("show", "best")  # its size was kept before, too
    Path("best.pth").unlink()
    assert warned("show", "best") == ""
    assert "gone" in run("show", "best")


def test_of_a_folder_a_refresh_takes_what_has_changed(zoo: Zoo) -> None:
    Path("runs").mkdir()
    for i in range(7):
        torch.save(mlp(3, 4, 2).state_dict(), f"runs/{i}.pth")
    zoo.add_folder("runs", "runs", engine=open_engine("inline"))
    for i in range(7):
        Path(f"runs/{i}.pth").write_bytes(b"")
    said = warned("list", "--catalogue", "folder").splitlines()
    told = f"'{Path('runs/0.pth').resolve()}' was written again since the index read it; run: zoo index refresh"
    assert said[0] == f"Warning: {told}"
    assert (len(said), said[-1]) == (6, "Warning: the same holds for 2 other files")
    assert told in [
        finding.text for finding in examine(zoo) if (finding.topic, finding.status) == ("weights", "note")
    ]


def test_of_a_checkpoint_in_several_files_each_counts() -> None:
    header = {"weight_map": {name: f"{i % 2}.safetensors" for i, name in enumerate(mlp(3, 4, 2).state_dict())}}
    Path("model.safetensors.index.json").write_text(json.dumps(header))
    for file in ("0.safetensors", "1.safetensors"):
        own = {n: v for n, v in mlp(3, 4, 2).state_dict().items() if header["weight_map"][n] == file}
        save_file(own, file)
    run("add", "model.safetensors.index.json", "--name", "parts")
    assert warned("show", "parts") == ""
    os.utime("1.safetensors", ns=(0, 1))
    assert "model.safetensors.index.json' was written again" in warned("show", "parts")
    Path("1.safetensors").unlink()
    assert "model.safetensors.index.json' has lost one of its files since" in warned("show", "parts")


def test_a_source_that_was_written_again_is_told_where_it_is_used(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also that the next command asks the index that was named."""
    monkeypatch.delenv("ZOO_DB")
    Path("net.py").write_text("from torch import nn\nmodel = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))\n")
    torch.save(mlp(3, 4, 2).state_dict(), "other.pth")
    index = ("--db", zoo.store.name)
    assert "next: zoo --db" in run(*index, "show", "test_vit")
    run(*index, "add", "best.pth", "--name", "mine")
    os.utime("best.pth", ns=(0, 1))
    again = f"run: zoo --db {zoo.store.name} add {Path('best.pth').resolve()}\n"
    to = ("-t", "net.py", "-o", "out.safetensors")
    for asked in (
        ("transfer", *to, "-s", "mine"),
        ("transfer", *to, "--auto", "--catalogue", "local"),
        ("plan", "-t", "net.py", "-s", "mine"),
        ("similarity", "mine", "net.py"),
    ):
        assert again in warned(*index, *asked), asked
    run(*index, "add", "other.pth")
    assert warned(*index, "transfer", *to, "-s", "best.pth") == ""  # as it is now
    assert warned(*index, "transfer", *to, "-s", "mine", "--weights", "other.pth") == ""


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_a_path_that_cannot_be_looked_at_is_one_where_nothing_is(zoo: Zoo, name: str) -> None:
    """As in an index from elsewhere, or in a folder that the user may not enter."""
    run("add", "best.pth")
    with sqlite3.connect(zoo.store.name) as raw:
        raw.execute("UPDATE entry SET path = ? WHERE name = 'best'", (str(Path(name).absolute()),))
    torch.save(mlp(3, 4, 2).state_dict(), "target.pth")
    assert warned("recommend", "-t", "target.pth", "-k", "1") == ""
    assert warned("list", "--catalogue", "local") == ""
    assert "gone" in run("show", "best")
    assert "found nothing; put the file back" in run("pack", "best", "-o", "best.tar", code=2)
    assert [finding.topic for finding in examine(zoo)].count("weights") == 0
    with sqlite3.connect(zoo.store.name) as raw:
        raw.execute("UPDATE architecture SET features = ? WHERE name = 'best'", (FEATURES - 1,))
    assert any("older standardization, and its file" in line for line in zoo.verify())
    run("add", name, code=2)
