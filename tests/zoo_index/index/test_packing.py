"""Weights and index on their way to a machine without a network: fetched, packed, unpacked."""

from __future__ import annotations

import hashlib
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
from sqlalchemy import update

from transfer.errors import InputError, ZooError
from zoo_index.database.schema import ARCHITECTURE, ENTRY
from zoo_index.engines import open_engine
from zoo_index.errors import WeightsUnavailableError
from zoo_index.index.pack_format import own_folder
from zoo_index.zoo.zoo import Zoo


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


EVIL = "from pathlib import Path\nPath({mark!r}).touch()\n1 / 0\n"


def packed_by(folder: Path, index: Path | None, own: dict[str, bytes], manifest: object = None) -> Path:
    """Write a pack as somebody else may."""
    members = {f"weights/{i}": ("own", place, data) for i, (place, data) in enumerate(own.items())}
    if index is not None:
        members["index.sqlite"] = ("index", "index.sqlite", index.read_bytes())
    files = [
        {
            "member": member,
            "root": root,
            "place": place,
            "n_bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        for member, (root, place, data) in members.items()
    ]
    told = manifest or json.dumps({"format": 1, "entries": ["evil"], "files": files}).encode()
    assert isinstance(told, bytes)
    with tarfile.open(folder / "evil.tar", "w") as archive:
        for name, data in {"manifest.json": told, **{name: data for name, (*_, data) in members.items()}}.items():
            header = tarfile.TarInfo(name)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return folder / "evil.tar"


@pytest.mark.parametrize("spec", ["{folder}/evil.py", "{folder}/evil.py:Net", "zoo_test_evil:Net"])
def test_nothing_that_an_index_names_is_run(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str
) -> None:
    mark, folder = tmp_path / "ran", tmp_path / "code"
    folder.mkdir()
    for name in ("evil.py", "evil.py:Net", "zoo_test_evil.py", "zoo_test_evil:Net"):
        (folder / name).write_text(EVIL.format(mark=str(mark)))
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("ZOO_DB", str(tmp_path / "zoo.db"))
    found = spec.format(folder=folder)
    (folder / "own.py").write_text("from torch import nn\nmodel = nn.Linear(3, 6)\n")
    zoo.add(tmp_path / "runs" / "best.pth", "evil")
    zoo.add(tmp_path / "runs" / "best.pth", "late")
    changes = [("evil", {"path": found}), ("late", {"path": None, "hub_id": "no/where"})]
    with zoo.store.writing() as connection:
        for name, values in changes:
            connection.execute(update(ENTRY).where(ENTRY.c.name == name).values(**values))
        architecture = update(ARCHITECTURE).where(ARCHITECTURE.c.name == "late")
        connection.execute(architecture.values(name=found))
    zoo.store.close()
    for name in ("evil", "late"):
        for target in ("resnet18", str(folder / "own.py")):
            assert run_cli("plan", "-s", name, "-t", target, seconds=120).returncode == 2
        run_cli("similarity", name, "resnet18", seconds=120)
    out, state = str(tmp_path / "out.safetensors"), str(tmp_path / "runs" / "best.pth")
    for more in ([], ["--weights", state]):
        run_cli("transfer", "-s", "evil", *more, "-t", "resnet18", "-o", out, seconds=120)
    with pytest.raises(ZooError):
        zoo.plan("evil", nets.mlp(3, 6, 2))
    assert not mark.exists()


def test_what_an_index_has_is_opened_as_what_it_is(zoo: Zoo, tmp_path: Path) -> None:
    target = nets.mlp(3, 6, 2)
    assert zoo.plan("runs/best", target).coverage == 1
    with pytest.raises(WeightsUnavailableError, match="zoo fetch ann/one"):
        zoo.plan("ann/one", target)
    zoo.fetch("ann/one")
    assert zoo.plan("ann/one", nets.mlp(3, 4, 2)).coverage == 1


def test_of_a_foreign_index_only_what_is_of_no_machine_is_taken(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo.add(tmp_path / "runs" / "best.pth", "evil")
    there = tmp_path / "there" / "packed" / "evil" / "best.pth"
    with zoo.store.writing() as connection:
        connection.execute(update(ENTRY).where(ENTRY.c.name == "evil").values(path=str(there)))
        connection.execute(update(ENTRY).where(ENTRY.c.name == "ann/one").values(path="/etc/passwd"))
    zoo.store.close()
    own = {"evil/best.pth": (tmp_path / "runs" / "best.pth").read_bytes()}
    pack = packed_by(tmp_path, tmp_path / "zoo.db", own)
    here(monkeypatch, tmp_path / "there")
    other = Zoo(tmp_path / "there" / "zoo.db")
    assert other.unpack(pack).has_index
    found = {entry["name"]: entry["path"] for entry in other.entries()}
    assert {"evil", "ann/one", "runs/best"}.isdisjoint(found)
    assert {name: path for name, path in found.items() if path} == {"packed/evil/best": str(there)}
    assert "ann/two" in found
    assert other.verify() == []
    other.store.close()


@pytest.mark.parametrize("beside", [False, True], ids=["alone", "beside weights"])
def test_a_file_of_ones_own_that_is_no_weights_is_refused(zoo: Zoo, tmp_path: Path, beside: bool) -> None:
    own = {"evil/evil.py": EVIL.format(mark=str(tmp_path / "ran")).encode()}
    if beside:
        own["evil/best.pth"] = (tmp_path / "runs" / "best.pth").read_bytes()
    with pytest.raises(InputError, match=r"expected weights in the pack, 'evil/evil.py' is none"):
        zoo.unpack(packed_by(tmp_path, None, own))
    assert not [path for path in own_folder().rglob("*") if path.is_file()]


def test_an_index_that_cannot_be_read_is_refused(zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "no.db").write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    here(monkeypatch, tmp_path / "there")
    other = Zoo(tmp_path / "there" / "zoo.db")
    with pytest.raises(InputError, match="expected an index that can be read in the pack"):
        other.unpack(packed_by(tmp_path, tmp_path / "no.db", {}))
    assert not other.store.exists()


@pytest.mark.parametrize("text", [b"[" * 200_000, b'{"files": [], "files": []}'], ids=["deep", "twice"])
def test_a_manifest_that_is_none_is_refused(zoo: Zoo, tmp_path: Path, text: bytes) -> None:
    with pytest.raises(InputError, match="expected a whole pack"):
        zoo.unpack(packed_by(tmp_path, None, {}, text))


def test_a_file_with_holes_or_of_another_size_is_refused(zoo: Zoo, tmp_path: Path) -> None:
    size = 1 << 28
    header = tarfile.TarInfo("weights/0")
    header.size, header.type = 0, tarfile.GNUTYPE_SPARSE
    raw = bytearray(header.tobuf(tarfile.GNU_FORMAT))
    raw[386:398], raw[398:410] = b"%011o\0" % size, b"%011o\0" % 0
    raw[483:495] = b"%011o\0" % size
    raw[148:156] = b"%06o\0 " % tarfile.calc_chksums(bytes(raw))[0]
    told = {"member": "weights/0", "root": "hub", "place": "big", "n_bytes": size, "sha256": "0" * 64}
    manifest = json.dumps({"format": 1, "entries": [], "files": [told]}).encode()
    for member, n_bytes in ((bytes(raw), size), (None, 5)):
        file = packed_by(tmp_path, None, {"x": b"x" * 20}, manifest)
        if member is None:
            file = packed_by(
                tmp_path, None, {"x": b"x" * 20}, manifest.replace(str(size).encode(), str(n_bytes).encode())
            )
        else:
            data = file.read_bytes()
            file.write_bytes(data[:1024] + member + bytes(1024))
            with tarfile.open(file) as archive:
                assert archive.getmember("weights/0").issparse()
        with pytest.raises(InputError, match="no plain file" if member else "has 20 bytes, not 5"):
            zoo.unpack(file)


def test_a_checkpoint_in_several_files_of_ones_own(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "runs" / "big"
    folder.mkdir()
    state = list(nets.mlp(3, 7, 2).state_dict().items())
    parts = {"m-1.safetensors": dict(state[:1]), "m-2.safetensors": dict(state[1:])}
    for file, part in parts.items():
        safetensors.torch.save_file(part, folder / file)
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text("{}")
    zoo.add_folder(tmp_path / "runs", "runs", engine=open_engine("inline"))
    zoo.pack(["runs/big"], tmp_path / "pack.tar")
    here(monkeypatch, tmp_path / "there")
    shutil.rmtree(tmp_path / "runs")
    other = Zoo(tmp_path / "there" / "zoo.db")
    assert other.unpack(tmp_path / "pack.tar").n_files == 4
    _, report = other.transfer(nets.mlp(3, 7, 2), "packed/runs/big")
    assert report.coverage == 1
    other.store.close()
