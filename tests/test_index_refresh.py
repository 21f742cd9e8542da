from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL_ZOO

import transfer
from transfer.errors import OutputError
from zoo_index.catalogues.catalogue import CatalogueEntry, open_catalogue
from zoo_index.catalogues.description import FEATURES, Description
from zoo_index.catalogues.timm_catalogue import build
from zoo_index.database import loading, queries, writes
from zoo_index.database.store import Store
from zoo_index.engines import Lost, open_engine
from zoo_index.errors import EngineError, IndexFileError, UnknownNameError
from zoo_index.index import refresh, snapshot, workers
from zoo_index.zoo import Zoo


def names(path: Path, table: str = "architecture", catalogue: str = "timm") -> set[str]:
    with sqlite3.connect(path) as raw:
        return {row[0] for row in raw.execute(f"SELECT name FROM {table} WHERE catalogue = ?", (catalogue,))}


def test_a_refresh_indexes_what_it_was_asked_for(small_index: Path) -> None:
    assert names(small_index) == set(SMALL_ZOO)
    assert names(small_index, "entry") >= {"test_vit.r160_in1k", "efficientnet_lite0.ra_in1k"}


def test_timm_lists_every_pretrained_entry_with_its_default_first() -> None:
    entries = open_catalogue("timm").entries()
    assert len(entries) > 1800
    assert len({entry.name for entry in entries}) == len(entries)
    first = {}
    for entry in entries:
        first.setdefault(entry.architecture, entry)
    assert first["resnet50"].name == "resnet50.a1_in1k"
    resnet = first["resnet50"]
    assert (resnet.license, resnet.input_size, resnet.n_classes) == ("apache-2.0", "3x224x224", 1000)
    assert (resnet.family, resnet.hub_id) == ("resnet", "timm/resnet50.a1_in1k")


def test_nothing_changed_means_nothing_done(zoo: Zoo) -> None:
    zoo.search.vector_index()
    before = zoo.store.path.read_bytes()
    report = zoo.refresh(only=SMALL_ZOO)
    assert (report.indexed, report.unchanged, report.entries_changed, report.embedded) == (
        0,
        len(SMALL_ZOO) + len(names(zoo.store.path, catalogue="pypi")),
        0,
        0,
    )
    with sqlite3.connect(zoo.store.path) as raw:
        assert raw.execute("SELECT count(*) FROM run WHERE kind = 'refresh'").fetchone()
    assert zoo.store.path.stat().st_size == len(before)


def test_an_older_version_is_standardized_again(zoo: Zoo) -> None:
    with sqlite3.connect(zoo.store.path) as raw:
        raw.execute("UPDATE architecture SET catalogue_version = '0.9' WHERE name = 'test_vit'")
        raw.execute("UPDATE architecture SET features = ? WHERE name = 'test_resnet'", (FEATURES - 1,))
    assert zoo.refresh(only=SMALL_ZOO).indexed == 2


def test_worker_processes_return_the_same_index(small_index: Path, tmp_path: Path) -> None:
    zoo = Zoo(tmp_path / "parallel.db")
    zoo.refresh(only=SMALL_ZOO, use_snapshot=False, processes=2)

    def fingerprints(path: Path) -> set[tuple[str, str, int]]:
        with sqlite3.connect(path) as raw:
            return set(raw.execute("SELECT name, fingerprint, n_params FROM architecture WHERE catalogue = 'timm'"))

    assert fingerprints(zoo.store.path) == fingerprints(small_index)


def test_an_interrupted_refresh_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "zoo.db"
    many = [
        "test_vit",
        "test_resnet",
        "test_efficientnet",
        "test_convnext",
        "test_byobnet",
        "hrnet_w48",
        "hrnet_w64",
    ]
    only = [part for name in many for part in ("--only", name)]
    # a shell starts background jobs with the interrupt ignored, and this test may run in one
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    run = f"{heed}; from zoo_index.cli import main; main()"
    command = [sys.executable, "-c", run, "--db", str(path), "index", "refresh", "-j", "1", *only]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("standardizing timm: 3"):
                break
        process.send_signal(signal.SIGINT)
        message = process.stderr.read()
    assert process.returncode == 130, message
    assert "goes on from there" in message
    assert "Traceback" not in message
    kept = names(path)
    assert kept
    assert kept < set(many)
    with sqlite3.connect(path) as raw:
        assert raw.execute("SELECT status FROM run ORDER BY id DESC").fetchone() == ("interrupted",)
    report = Zoo(path).refresh(only=many, use_snapshot=False, processes=1)
    assert report.unchanged == len(kept)
    assert names(path) == set(many)


def test_a_network_that_cannot_be_built_is_noted_and_the_others_stand() -> None:
    entries = [
        CatalogueEntry(name="nosuch.x", architecture="nosuch"),
        CatalogueEntry(name="test_vit.x", architecture="test_vit"),
    ]
    found = dict(workers.standardize_entries(open_catalogue("timm"), entries, open_engine("inline")))
    assert "UnknownNameError" in str(found[entries[0]])
    assert not isinstance(found[entries[1]], str)


def test_failures_are_kept_and_forgotten_on_success(tmp_path: Path) -> None:
    store = Store(tmp_path / "zoo.db")
    with store.writing() as connection:
        writes.put_failure(connection, "timm", "1", "test_vit", "broken")
    Zoo(store.path).refresh(only=["test_vit"], use_snapshot=False, processes=1)
    with store.reading() as connection:
        assert queries.failures(connection) == []


def test_what_a_catalogue_drops_leaves_nothing_behind(zoo: Zoo) -> None:
    catalogue = replace(open_catalogue("pypi"), entries=list, version=lambda: "1")
    with zoo.store.writing() as connection:
        writes.put_failure(connection, "pypi", "1", "gone", "broken")
    before = zoo.status()
    report = refresh.RefreshReport()
    refresh._refresh_catalogue(zoo.store, catalogue, "1", [], 1, False, None, report)
    after = zoo.status()
    assert report.removed == n_packages_in(before)
    assert n_packages_in(after) == after["failures"] == 0
    assert after["generation"] > before["generation"]
    assert zoo.verify() == []


def n_packages_in(status: dict[str, Any]) -> int:
    return sum(row["architectures"] for row in status["catalogues"] if row["catalogue"] == "pypi")


DEADLY = """
import os, sys, time
from zoo_index.catalogues import catalogue

catalogue.CATALOGUES["deadly"] = "sitecustomize"

def describe(entry):
    if entry.architecture.startswith("die"):
        os._exit(9)
    if entry.architecture.startswith("hang"):
        time.sleep(600)
    return catalogue.open_catalogue("timm").describe(entry)

CATALOGUE = catalogue.Catalogue("deadly", catalogue.open_catalogue("timm").version, list, describe)
"""


def test_networks_that_kill_or_hang_their_worker_are_lost_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(DEADLY)  # imported by every Python process that finds it
    monkeypatch.syspath_prepend(tmp_path)
    deadly = replace(open_catalogue("timm"), name="deadly")
    names = ["test_vit", "die", "hang", "nosuch", "test_resnet"]
    entries = [CatalogueEntry(name=name, architecture=name) for name in names]
    with open_engine("local", 2) as engine:
        found = {
            entry.name: result
            for entry, result in workers.standardize_entries(deadly, iter(entries), engine, seconds=10)
        }
    assert isinstance(found["test_vit"], Description)
    assert isinstance(found["test_resnet"], Description)
    assert "UnknownNameError" in str(found["nosuch"])
    assert found["hang"] == Lost("took longer than 10 s", "time")
    assert found["die"] == Lost(
        "its worker process ended with status 9, also when it was tried again alone", "death"
    )


def test_workers_that_have_another_timm_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "timm-0.0.7.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: timm\nVersion: 0.0.7\n")
    catalogue = open_catalogue("timm")
    version = catalogue.version()
    here = replace(catalogue, version=lambda: version)
    monkeypatch.syspath_prepend(tmp_path)
    entries = [CatalogueEntry(name="test_vit.x", architecture="test_vit")]
    with (
        open_engine("local", 1) as engine,
        pytest.raises(EngineError, match=r"CatalogueError: expected timm 1\.\S+ with .* got 0\.0\.7 with"),
    ):
        list(workers.standardize_entries(here, entries, engine))


def test_unknown_timm_names_get_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean .*resnet50"):
        build("resnet5O")


# --- snapshot --------------------------------------------------------------------------------------------


def test_a_snapshot_gives_the_same_answers(zoo: Zoo, tmp_path: Path) -> None:
    provenance = zoo.export(tmp_path / "data")
    assert provenance["architectures"] == len(SMALL_ZOO)
    other = Store(tmp_path / "other" / "zoo.db")
    assert snapshot.import_snapshot(other, tmp_path / "data")
    filters_timm = [r.name for r in zoo.recommend("test_vit", k=50).results if r.catalogue == "timm"]
    assert [r.name for r in Zoo(other.path).recommend("test_vit", k=50).results] == filters_timm
    assert Zoo(other.path).verify() == []
    assert not snapshot.import_snapshot(other, tmp_path / "data")  # an index that is there stays


def test_a_database_that_another_process_is_filling_is_not_replaced(zoo: Zoo, tmp_path: Path) -> None:
    zoo.export(tmp_path / "data")
    store = Store(tmp_path / "other.db")
    with store.writing() as connection:
        writes.start_run(connection, "refresh", 5)
    before = store.path.read_bytes()
    assert not snapshot.import_snapshot(store, tmp_path / "data")
    assert store.path.read_bytes() == before


def test_the_vector_file_never_has_the_databases_name(zoo: Zoo, tmp_path: Path) -> None:
    path = tmp_path / "odd?name.faiss"
    path.write_bytes(zoo.store.path.read_bytes())
    other = Zoo(path)
    assert other.recommend("test_vit").results == zoo.recommend("test_vit").results
    other.search.vector_index()
    assert other.status()["architectures"] == zoo.status()["architectures"]
    assert path.read_bytes()[:6] == b"SQLite"


def test_the_shipped_snapshot_is_what_the_code_would_make(tmp_path: Path) -> None:
    if not snapshot.snapshot_fits(snapshot.read_provenance()):
        pytest.skip("the snapshot was made from another timm")
    store = Store(tmp_path / "zoo.db")
    assert snapshot.import_snapshot(store)
    with store.reading() as connection:
        stored = {name: (id_, fingerprint) for id_, name, fingerprint in queries.fingerprints(connection)}
        assert len(stored) > 1000
        for name in ("resnet50", "vit_tiny_patch16_224", "efficientnet_b0", "swin_tiny_patch4_window7_224"):
            id_, fingerprint = stored[name]
            assert transfer.standardize(build(name)).fingerprint == fingerprint
            paper = loading.load_architecture(connection, id_, "paper")
            assert paper is not None
            assert paper.fingerprint == transfer.standardize(build(name), method="paper").fingerprint


def test_a_snapshot_of_another_timm_is_left_alone(zoo: Zoo, tmp_path: Path) -> None:
    zoo.export(tmp_path / "data")
    text = (tmp_path / "data" / "index.json").read_text()
    (tmp_path / "data" / "index.json").write_text(text.replace('"timm": "', '"timm": "0.'))
    store = Store(tmp_path / "other.db")
    assert not snapshot.import_snapshot(store, tmp_path / "data")
    assert not store.exists()


def test_a_damaged_snapshot_is_refused(zoo: Zoo, tmp_path: Path) -> None:
    zoo.export(tmp_path / "data")
    packed = tmp_path / "data" / "index.sqlite.gz"
    packed.write_bytes(packed.read_bytes()[:-1] + b"x")
    store = Store(tmp_path / "other.db")
    with pytest.raises(IndexFileError, match="its checksum differs"):
        snapshot.import_snapshot(store, tmp_path / "data")
    assert not store.exists()


def test_an_export_that_cannot_be_written_says_so(zoo: Zoo, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="expected to write a snapshot"):
        zoo.export(tmp_path / "file" / "data")


def test_verify_notices_an_altered_block(zoo: Zoo) -> None:
    assert zoo.verify() == []
    with sqlite3.connect(zoo.store.path) as raw:
        raw.execute("UPDATE layer SET canonical = replace(canonical, '[64', '[65')")
    assert any("differs from its fingerprint" in text for text in zoo.verify())
