"""Weights and index on their way to a machine without a network: fetched, packed, unpacked."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import nets
import pytest
import safetensors.torch
import torch
from forked_cli import run_cli
from huggingface_hub import constants
from scripted_hub import Repo, running_hub

from transfer.errors import InputError
from zoo_index.engines import open_engine
from zoo_index.packing import own_folder
from zoo_index.zoo import Zoo


@pytest.fixture
def zoo(tmp_path: Path, small_index: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Zoo]:
    """An index with an entry of a hub, one of two files on a hub, and one of a folder."""
    monkeypatch.setenv("ZOO_HEADERS", str(tmp_path / "headers"))
    monkeypatch.setenv("NO_PROXY", "*")
    here(monkeypatch, tmp_path / "here")
    shutil.copy(small_index, tmp_path / "zoo.db")
    found = Zoo(tmp_path / "zoo.db")
    state = nets.mlp(3, 5, 2).state_dict()
    parts = {"m-1.safetensors": dict(list(state.items())[:2]), "m-2.safetensors": dict(list(state.items())[2:])}
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    with running_hub() as hub:
        hub.repos["ann/one"] = Repo({"model.safetensors": safetensors.torch.save(nets.mlp(3, 4, 2).state_dict())})
        hub.repos["ann/two"] = Repo(
            {
                "model.safetensors.index.json": json.dumps(index).encode(),
                **{name: safetensors.torch.save(part) for name, part in parts.items()},
            }
        )
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
        found.add_query("author=ann", engine=open_engine("inline"))
        (tmp_path / "runs").mkdir()
        torch.save(nets.mlp(3, 6, 2).state_dict(), tmp_path / "runs" / "best.pth")
        found.add_folder(tmp_path / "runs", "runs", engine=open_engine("inline"))
        yield found
    found.store.close()


def here(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make this another machine."""
    monkeypatch.setenv("HF_HUB_CACHE", str(folder / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(folder / "torch"))
    monkeypatch.setenv("ZOO_PACKED", str(folder / "packed"))
    monkeypatch.setenv("ZOO_DB", str(folder / "zoo.db"))


NAMES = ("ann/one", "ann/two", "runs/best")


def test_a_pack_brings_sources_to_a_machine_without_a_network(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = zoo.pack(NAMES, tmp_path / "pack.tar")
    assert packed.entries == NAMES
    assert packed.n_files >= 6
    here(monkeypatch, tmp_path / "there")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    shutil.rmtree(tmp_path / "runs")
    other = Zoo(tmp_path / "there" / "zoo.db")
    unpacked = other.unpack(tmp_path / "pack.tar")
    assert (unpacked.entries, unpacked.has_index, unpacked.has_own) == (NAMES, True, True)
    for name, width in {"ann/one": 4, "ann/two": 5, "packed/runs/best/best": 6}.items():
        assert other.entry(name)["available"], name
        _, report = other.transfer(nets.mlp(3, width, 2), name)
        assert report.coverage == 1
    assert {entry["catalogue"] for entry in other.entries()} == {"timm", "hub", "folder"}
    assert other.unpack(tmp_path / "pack.tar").n_files == 0
    assert other.verify() == []
    other.store.close()


def test_an_index_that_is_there_stays(zoo: Zoo, tmp_path: Path) -> None:
    zoo.pack(["ann/one"], tmp_path / "pack.tar")
    before = [entry["name"] for entry in zoo.entries()]
    assert not zoo.unpack(tmp_path / "pack.tar").has_index
    assert [entry["name"] for entry in zoo.entries()] == before


def rewritten(source: Path, target: Path, **changed: object) -> None:
    """Copy a pack with another manifest."""
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for member in old:
            opened = old.extractfile(member)
            assert opened is not None
            data = opened.read()
            if member.name == "manifest.json":
                manifest = json.loads(data)
                manifest["files"][1] |= changed
                data = json.dumps(manifest).encode()
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize(
    "changed",
    [
        {"place": "../../evil"},
        {"place": "/evil"},
        {"root": "home"},
        {"sha256": "0" * 64},
        {"member": "nosuch"},
        {"n_bytes": "many"},
        {"more": 1},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_pack_that_was_altered_is_refused(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, object]
) -> None:
    zoo.pack(["ann/one"], tmp_path / "pack.tar")
    rewritten(tmp_path / "pack.tar", tmp_path / "other.tar", **changed)
    here(monkeypatch, tmp_path / "there")
    other = Zoo(tmp_path / "there" / "zoo.db")
    with pytest.raises(InputError, match="expected a whole pack"):
        other.unpack(tmp_path / "other.tar")
    assert not list(tmp_path.rglob("evil*"))
    left = [path for path in (tmp_path / "there").rglob("*") if path.is_file()]
    assert {path.name for path in left} <= {"zoo.db", "zoo.db.faiss", "zoo.db.faiss.json"}


@pytest.mark.parametrize("content", [b"", b"no tar", b"x" * 3000], ids=["empty", "text", "large"])
def test_what_is_no_pack_is_refused(zoo: Zoo, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pack.tar").write_bytes(content)
    with pytest.raises(InputError, match="expected a whole pack"):
        zoo.unpack(tmp_path / "pack.tar")
    with pytest.raises(InputError, match="expected a pack at"):
        zoo.unpack(tmp_path / "nosuch.tar")


def test_a_pack_that_is_cut_is_refused(zoo: Zoo, tmp_path: Path) -> None:
    zoo.pack(["ann/one"], tmp_path / "pack.tar")
    data = (tmp_path / "pack.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="expected a whole pack"):
        zoo.unpack(tmp_path / "cut.tar")


def test_the_commands(zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_DB", str(tmp_path / "zoo.db"))

    def run(*arguments: str, code: int = 0) -> str:
        done = run_cli(*arguments, seconds=120)
        assert done.returncode == code, done.stderr
        return (done.stdout if code == 0 else done.stderr).decode()

    told = json.loads(run("fetch", "ann/one", "runs/best", "--json"))["files"]
    assert Path(told["ann/one"]).is_file()
    assert told["runs/best"] == str(tmp_path / "runs" / "best.pth")
    assert "2 entries" in run("pack", "ann/one", "runs/best", "-o", "pack.tar")
    here(monkeypatch, tmp_path / "there")
    assert "the index of the pack is used" in run("unpack", "pack.tar")
    assert own_folder().is_dir()
    assert "did you mean" in run("fetch", "ann/oen", code=2)
    assert "expected an existing folder" in run("pack", "ann/one", "-o", "nosuch/pack.tar", code=2)
    assert "expected a pack at" in run("unpack", "nosuch.tar", code=2)
