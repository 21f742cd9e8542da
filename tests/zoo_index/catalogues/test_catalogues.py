"""Catalogues: torchvision, folders that are looked through again, and those of other packages."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import nets
import pytest
import torch
from forked_cli import run_cli
from safetensors.torch import save_file

from zoo_index.catalogues import catalogue as catalogues
from zoo_index.catalogues.catalogue import Collection, Request, listed_catalogues, open_catalogue
from zoo_index.catalogues.folder_catalogue import _names
from zoo_index.database.collections import put_collection
from zoo_index.engines import open_engine
from zoo_index.errors import CatalogueError, UnknownNameError, WeightsUnavailableError
from zoo_index.jobs.refresh import RefreshReport, refresh
from zoo_index.recommending.answers import PERMISSIVE, Filters
from zoo_index.zoo.zoo import Zoo

ROOT = Path(__file__).parents[3]


@pytest.fixture
def zoo(tmp_path: Path, small_index: Path) -> Iterator[Zoo]:
    shutil.copy(small_index, tmp_path / "zoo.db")
    found = Zoo(tmp_path / "zoo.db")
    yield found
    found.store.close()


def weights(*sizes: int, seed: int = 0) -> dict[str, torch.Tensor]:
    return nets.randomise(nets.mlp(*sizes), seed).state_dict()


def names(zoo: Zoo, catalogue: str) -> list[str]:
    return sorted(entry["name"] for entry in zoo.entries(Filters(catalogue=catalogue)))


def again(zoo: Zoo, *which: str) -> RefreshReport:
    return refresh(zoo.store, engine=open_engine("inline"), catalogues=which, seconds=None)


# folders ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Checkpoints as they lie about, and what else does."""
    folder = tmp_path / "runs"
    (folder / "a" / "deep").mkdir(parents=True)
    torch.save({"state_dict": weights(3, 4, 2), "epoch": 3}, folder / "a" / "best.ckpt")
    torch.save(nets.mlp(3, 5, 2), folder / "a" / "deep" / "module.pt")
    save_file(weights(3, 6, 2), folder / "last.safetensors")
    (folder / "a" / "log.txt").write_text("epoch 3")
    (folder / "a" / "notes.pkl").write_bytes(b"\x80\x04N.")
    (folder / "a" / "cut.pth").write_bytes(b"PK\x03\x04 cut")
    (folder / ".hidden").mkdir()
    torch.save(weights(3, 7, 2), folder / ".hidden" / "w.pth")
    return folder


def test_a_folder_is_looked_through_again(zoo: Zoo, runs: Path) -> None:
    added = zoo.add_folder(runs, "mine", license="mit", engine=open_engine("inline"))
    assert sorted(added.new) == ["mine/a/best", "mine/a/deep/module", "mine/last"] == names(zoo, "folder")
    assert (added.status, added.failed) == ("done", {})
    entry = zoo.entry("mine/a/best")
    assert (entry["license"], entry["family"], entry["available"]) == ("mit", "mine", True)
    assert entry["n_bytes"] == (runs / "a" / "best.ckpt").stat().st_size
    best = zoo.recommend(nets.mlp(3, 5, 2), k=1, filters=Filters(catalogue="folder")).results[0]
    assert (best.name, best.similarity) == ("mine/a/deep/module", 1)

    nothing = again(zoo, "folder")
    assert (nothing.new, nothing.changed, nothing.retired, nothing.entries_changed) == ([], [], [], 0)
    assert nothing.unchanged == 3

    (runs / "last.safetensors").rename(runs / "kept.safetensors")
    torch.save(weights(3, 9, 2), runs / "new.pth")
    torch.save({"state_dict": weights(3, 8, 2)}, runs / "a" / "best.ckpt")
    shutil.rmtree(runs / "a" / "deep")
    report = again(zoo, "folder")
    assert sorted(report.new) == ["mine/kept", "mine/new"]
    assert report.changed == ["mine/a/best"]
    assert sorted(report.retired) == ["mine/a/deep/module", "mine/last"]
    assert report.renamed == {"mine/last": "mine/kept"}
    assert zoo.entry("mine/last")["name"] == "mine/kept"


def test_new_values_of_the_same_network_are_noticed_by_content(zoo: Zoo, runs: Path) -> None:
    zoo.add_folder(runs, "mine", engine=open_engine("inline"))
    file = runs / "last.safetensors"
    before = zoo.entry("mine/last")
    save_file(weights(3, 6, 2, seed=5), file)
    report = again(zoo, "folder")
    assert (report.changed, report.entries_changed) == ([], 1)
    after = zoo.entry("mine/last")
    assert after["revision"] != before["revision"]
    assert after["fingerprint"] == before["fingerprint"]
    os.utime(file, ns=(1, 1))  # written again, the same: hashed, and found to be what it was
    assert again(zoo, "folder").changed == []
    assert zoo.entry("mine/last")["revision"] == after["revision"]


def test_a_file_of_the_same_size_and_time_is_not_read_again(
    zoo: Zoo, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zoo.add_folder(runs, "mine", engine=open_engine("inline"))
    for path in (runs / "a" / "notes.pkl", runs / "a" / "cut.pth"):
        path.unlink()
    monkeypatch.setattr("zoo_index.catalogues.folder_catalogue.open_checkpoint", lambda *_: 1 / 0)
    assert again(zoo, "folder").unchanged == 3


def test_a_folder_that_is_not_mounted_keeps_its_entries(zoo: Zoo, runs: Path) -> None:
    zoo.add_folder(runs, "mine", engine=open_engine("inline"))
    runs.rename(runs.with_name("away"))
    report = again(zoo, "folder")
    assert report.status == "partial"
    assert "expected the folder" in report.failed["folder"]
    assert len(names(zoo, "folder")) == 3
    assert not zoo.entry("mine/last")["available"]
    runs.with_name("away").rename(runs)
    assert again(zoo, "folder").status == "done"


def test_files_of_one_stem_and_shards_have_names_of_their_own(zoo: Zoo, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    (folder / "big").mkdir(parents=True)
    torch.save(weights(3, 4), folder / "w.pth")
    save_file(weights(3, 5), folder / "w.safetensors")
    shards = weights(3, 6, 2)
    save_file(shards, folder / "big" / "model-1.safetensors")
    index = {"weight_map": dict.fromkeys(shards, "model-1.safetensors")}
    (folder / "big" / "model.safetensors.index.json").write_text(json.dumps(index))
    zoo.add_folder(folder, "runs", engine=open_engine("inline"))
    assert names(zoo, "folder") == ["runs/big", "runs/w-pth", "runs/w-safetensors"]


def test_every_file_has_a_name_of_its_own(zoo: Zoo, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    folder.mkdir()
    files = ["a.pth", "a.ckpt", "a-pth.pth", "x.pth.tar", "x.tar", "x.pt.tar", "plain.pth"]
    for i, file in enumerate(files):
        torch.save(weights(3, 4 + i), folder / file)
    zoo.add_folder(folder, "runs", engine=open_engine("inline"))
    found = {Path(e["path"]).name: e["name"] for e in zoo.entries(Filters(catalogue="folder"))}
    assert sorted(found) == sorted(files)
    assert len(set(found.values())) == len(files)
    assert (found["a-pth.pth"], found["plain.pth"]) == ("runs/a-pth", "runs/plain")
    report = again(zoo, "folder")
    assert (report.unchanged, report.entries_changed) == (len(files), 0)


def test_a_name_that_a_hash_would_give_is_no_trap(tmp_path: Path) -> None:
    long = "/".join(["d" * 250] * 4)
    paths = [f"{long}/w.{end}" for end in ("pth", "ckpt")]
    collection = Collection("runs", str(tmp_path))
    made = _names(tmp_path, [tmp_path / path for path in paths], collection)
    files = [tmp_path / path for path in [*paths, *(f"{name.removeprefix('runs/')}.pth" for name in made)]]
    names = _names(tmp_path, files, collection)
    assert len(set(names)) == 4
    assert names[:2] == made


def shard(folder: Path, *sizes: int, seed: int = 0) -> Path:
    """Write a checkpoint in two files and their index; return the second file."""
    state = list(weights(*sizes, seed=seed).items())
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"m-1.safetensors": dict(state[:1]), "m-2.safetensors": dict(state[1:])}
    for file, part in parts.items():
        save_file(part, folder / file)
    index = {"weight_map": {name: file for file, part in parts.items() for name in part}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder / "m-2.safetensors"


def test_what_an_index_does_not_name_is_no_shard(zoo: Zoo, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    shard(folder / "big", 3, 6, 2)
    torch.save(weights(3, 5, 2), folder / "big" / "lastweek.pth")
    zoo.add_folder(folder, "runs", engine=open_engine("inline"))
    assert names(zoo, "folder") == ["runs/big", "runs/big/lastweek"]


def test_shards_count_as_the_content_of_their_index(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "runs" / "big"
    second = shard(folder, 3, 6, 2)
    zoo.add_folder(tmp_path / "runs", "runs", engine=open_engine("inline"))
    before = zoo.entry("runs/big")
    assert before["n_bytes"] == sum(file.stat().st_size for file in folder.iterdir())
    time = (folder / "m-1.safetensors").stat().st_mtime_ns - 10**9
    shard(folder, 3, 6, 2, seed=5)
    os.utime(second, ns=(time, time))  # as a copy that keeps times: older than the rest
    assert again(zoo, "folder").entries_changed == 1
    after = zoo.entry("runs/big")
    assert after["revision"] != before["revision"]
    os.utime(second, ns=(1, 1))
    assert again(zoo, "folder").changed == []
    assert zoo.entry("runs/big")["revision"] == after["revision"]
    monkeypatch.setattr("zoo_index.catalogues.folder_catalogue.open_checkpoint", lambda *_: 1 / 0)
    assert again(zoo, "folder").unchanged == 1


def test_folders_on_the_command_line(zoo: Zoo, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ZOO_DB", str(tmp_path / "zoo.db"))
    (tmp_path / "net.py").write_text(
        "from torch import nn\ndef build_model():\n"
        "    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))\n"
    )

    def run(*arguments: str, code: int = 0) -> str:
        done = run_cli(*arguments, seconds=120)
        assert done.returncode == code, done.stderr
        return (done.stdout if code == 0 else done.stderr).decode()

    assert "3 architectures new" in run("add", "runs")
    listed = run("list", "--catalogue", "folder")
    assert [line.split()[0] for line in listed.splitlines()[1:4]] == [
        "runs/a/best",
        "runs/a/deep/module",
        "runs/last",
    ]
    told = json.loads(run("transfer", "-t", "net.py", "-s", "runs/a/best", "-o", "out.safetensors", "--json"))
    assert (told["source"], told["coverage"]) == ("runs/a/best", 1.0)
    assert "is taken" in run("add", str(runs / "last.safetensors"), "--name", "runs", code=2)
    assert "found nothing" in run("add", "nosuch", "--name", "x", code=2)
    run("remove", "runs")
    run("list", "--catalogue", "folder", code=1)
    assert (runs / "last.safetensors").exists()
    assert "expected an entry that was added" in run("remove", "runs", code=2)


# torchvision ------------------------------------------------------------------------------------------------------


def test_torchvision_lists_all_its_weights() -> None:
    from torchvision import models

    entries = list(open_catalogue("torchvision").entries(Request()))
    expected = {
        f"torchvision/{name}.{weights.name.lower()}"
        for name in models.list_models()
        if not name.startswith("quantized_")
        for weights in models.get_model_weights(name)
    }
    assert {entry.name for entry in entries} == expected
    by_name = {entry.name: entry for entry in entries}
    assert by_name["torchvision/maskrcnn_resnet50_fpn.coco_v1"].task == "object-detection"
    swag = by_name["torchvision/vit_b_16.imagenet1k_swag_e2e_v1"]
    assert (swag.license, swag.dataset, swag.input_size) == ("cc-by-nc-4.0", "imagenet-1k", "3x384x384")
    assert by_name["torchvision/resnet50.imagenet1k_v2"].license is None
    first = next(entry for entry in entries if entry.architecture == "torchvision/resnet50")
    assert first.tag == "imagenet1k_v2"


@pytest.mark.parametrize(
    "name",
    ["resnet18", "googlenet", "deeplabv3_mobilenet_v3_large", "regnet_y_400mf", "fcos_resnet50_fpn", "r3d_18"],
)
def test_networks_of_torchvision_are_described_as_their_weights_are(name: str) -> None:
    catalogue = open_catalogue("torchvision")
    entry = next(one for one in catalogue.entries(Request()) if one.architecture == f"torchvision/{name}")
    described = catalogue.describe(entry)
    n_bytes = sum(
        tensor.numel() * tensor.element_size() for tensor in catalogue.build(entry.name).state_dict().values()
    )
    assert entry.n_bytes == pytest.approx(n_bytes, rel=0.01)
    assert described.paper is not None
    assert described.wiring


def test_a_network_of_torchvision_is_a_source_and_a_target(zoo: Zoo, tmp_path: Path) -> None:
    from torchvision import models

    again_only = refresh(
        zoo.store,
        engine=open_engine("inline"),
        catalogues=["torchvision"],
        only=["torchvision/resnet18"],
        seconds=None,
    )
    assert again_only.new == ["torchvision/resnet18"]
    torch.manual_seed(1)
    source, target = models.resnet18(), models.resnet18()
    cached = tmp_path / "cache"
    url = zoo.entry("torchvision/resnet18")["url"]
    (cached / "hub" / "checkpoints").mkdir(parents=True)
    torch.save(source.state_dict(), cached / "hub" / "checkpoints" / url.rpartition("/")[2])
    os.environ["TORCH_HOME"] = str(cached)
    assert zoo.entry("torchvision/resnet18")["available"]
    _, report = zoo.transfer(target, "torchvision/resnet18")
    assert report.coverage == 1
    assert report.function is not None
    assert report.function.verdict == "equal"
    assert zoo.recommend("torchvision/resnet18", k=1).results[0].similarity == 1
    build = open_catalogue("torchvision").build
    assert build is not None
    with pytest.raises(UnknownNameError, match="did you mean torchvision/resnet18"):
        build("torchvision/resnet17")


# other packages ---------------------------------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with a catalogue, installed as pip does: a folder beside its metadata."""
    site = tmp_path / "site"
    package = site / "team"
    (site / "team-1.0.dist-info").mkdir(parents=True)
    package.mkdir()
    shutil.copy(ROOT / "examples" / "team_catalogue.py", package)
    (package / "__init__.py").touch()
    (package / "wrong.py").write_text("CATALOGUE = 3\n")
    points = "team = team.team_catalogue:CATALOGUE\nwrong = team.wrong:CATALOGUE\ngone = team.nosuch:CATALOGUE\n"
    (site / "team-1.0.dist-info" / "entry_points.txt").write_text(f"[zoo.catalogues]\n{points}")
    (site / "team-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: team\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("PYTHONPATH", f"{site}:{ROOT}")
    catalogues._foreign.cache_clear()
    yield site
    catalogues._foreign.cache_clear()


def test_a_catalogue_of_another_package(zoo: Zoo, installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {"team", "timm", "folder"} < set(listed_catalogues())
    assert "local" not in listed_catalogues()
    file = installed / "models.csv"
    torch.save(weights(3, 4, 2), installed / "a.pth")
    file.write_text(f"name,path,license,task\nsmall,{installed / 'a.pth'},mit,tabular\n")
    monkeypatch.setenv("TEAM_MODELS", str(file))
    with open_engine(processes=1) as engine:  # a real worker process, which finds the package by itself
        report = refresh(zoo.store, engine=engine, catalogues=["team"], seconds=60)
    assert (report.new, report.failed) == (["team/small"], {})
    entry = zoo.entry("team/small")
    assert (entry["license"], entry["task"], entry["available"]) == ("mit", "tabular", True)
    assert [e["name"] for e in zoo.entries(Filters(task="tabular", license="permissive"))] == ["team/small"]
    file.write_text("name,path,license,task\n")
    assert again(zoo, "team").retired == ["team/small"]


def test_a_catalogue_that_is_none_costs_itself_only(zoo: Zoo, installed: Path) -> None:
    for name, words in {"wrong": "expected a Catalogue named 'wrong'", "gone": "to be importable"}.items():
        with pytest.raises(CatalogueError, match=words):
            open_catalogue(name)
    with pytest.raises(CatalogueError, match="expected a catalogue, got 'nosuch'"):
        open_catalogue("nosuch")
    before = names(zoo, "timm")
    report = again(zoo, "wrong", "gone", "folder")
    assert report.status == "partial"
    assert set(report.failed) == {"wrong", "gone"}
    assert names(zoo, "timm") == before


def test_the_example_is_short_and_is_that_of_the_page() -> None:
    text = (ROOT / "examples" / "team_catalogue.py").read_text()
    assert len(text.splitlines()) < 40
    page = (ROOT / "docs" / "own-catalogue.md").read_text()
    code = page.split('```python title="team_catalogue.py"\n')[1].split("```")[0]
    lines = [line.split("  #")[0].strip() for line in text.splitlines()]
    for line in code.splitlines():
        assert line.strip() in lines, line


# filters ----------------------------------------------------------------------------------------------------------


def test_what_is_unknown_passes_no_filter_that_asks_for_it() -> None:
    entry = {
        "name": "a", "license": None, "task": None, "dataset": None, "n_bytes": None, "downloads": None,
        "n_params": 3, "family": "f", "catalogue": "c",
    }  # fmt: skip
    known = {**entry, "license": "MIT", "task": "t", "dataset": "d", "n_bytes": 10, "downloads": 5}
    asked = SimpleNamespace(license="permissive", task="t", dataset="d", max_bytes=10, min_downloads=5)
    for key, value in vars(asked).items():
        assert Filters(**{key: value}).admits(known), key
        assert not Filters(**{key: value}).admits(entry), key
    assert Filters(license="unknown").admits(entry)
    assert Filters(task="unknown", dataset="unknown").admits(entry)
    assert not Filters(license="permissive").admits({**known, "license": "cc-by-nc-4.0"})
    assert all(name == name.lower() for name in PERMISSIVE)


# structures -------------------------------------------------------------------------------------------------------


def test_structures_of_transformers_answer_where_they_are_asked_for(zoo: Zoo) -> None:
    transformers = pytest.importorskip("transformers")
    assert list(open_catalogue("transformers").entries(Request())) == []
    with zoo.store.writing() as connection:
        put_collection(connection, "transformers", Collection("transformers", ""))
    names = [f"transformers/{name}" for name in ("GPT2LMHeadModel", "BertModel", "T5ForConditionalGeneration")]
    report = refresh(zoo.store, engine=open_engine("inline"), catalogues=["transformers"], only=names, seconds=None)
    assert sorted(report.new) == sorted(names)
    ends = {"bos_token_id": 0, "eos_token_id": 0}
    own = transformers.GPT2LMHeadModel(transformers.GPT2Config(n_layer=12, n_embd=384, n_head=6, **ends))
    found = zoo.recommend(own, k=1, filters=Filters(catalogue="transformers")).results[0]
    assert found.name == "transformers/GPT2LMHeadModel"
    assert not [r for r in zoo.recommend(own, k=20).results if r.catalogue == "transformers"]
    with pytest.raises(WeightsUnavailableError, match="the catalogue does not say"):
        zoo.transfer(own, "transformers/GPT2LMHeadModel", filters=Filters(catalogue="transformers"))
