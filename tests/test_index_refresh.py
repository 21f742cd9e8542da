from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import SMALL_ZOO

import transfer
from transfer.alignment.tables import kind_code, padded
from transfer.errors import OutputError
from zoo_index.catalogues.catalogue import CatalogueEntry, open_catalogue
from zoo_index.catalogues.description import FEATURES
from zoo_index.catalogues.timm_catalogue import build
from zoo_index.database import loading, queries, writes
from zoo_index.database.store import Store
from zoo_index.errors import CatalogueError, IndexFileError, UnknownNameError
from zoo_index.index import embedding, refresh, snapshot, upkeep, vectors, workers
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
        len(SMALL_ZOO) + n_packages(zoo),
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
    found = dict(workers.standardize_entries(open_catalogue("timm"), entries, processes=1))
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


def test_a_dying_worker_is_named_not_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = [CatalogueEntry(name=f"a{i}", architecture=f"a{i}") for i in range(4)]
    monkeypatch.setattr(workers, "describe_safely", die)
    with pytest.raises(CatalogueError, match="one died while building one of: a0"):
        list(workers.standardize_entries(open_catalogue("timm"), entries, processes=2))


def die(_catalogue: str, _entry: CatalogueEntry) -> str:
    time.sleep(0.5)
    os._exit(9)


def test_unknown_timm_names_get_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean .*resnet50"):
        build("resnet5O")


# --- embedding and vectors -------------------------------------------------------------------------------


def test_vectors_are_the_same_for_sources_and_targets(zoo: Zoo) -> None:
    with zoo.store.reading() as connection:
        table = loading.load_table(connection, "dpiat")
        basis = loading.load_basis(connection, "dpiat")
        ids, rows = loading.load_vectors(connection)
        load = partial(loading.load_architecture, connection, form="dpiat")
        assert basis is not None
        assert ids.tolist() == table.ids.tolist()
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
        for id_, row in zip(ids.tolist(), rows, strict=True):
            np.testing.assert_allclose(embedding.query_vector(load(id_), basis), row, atol=1e-5)


def test_a_profile_adds_up_the_scores_of_layers(zoo: Zoo) -> None:
    with zoo.store.reading() as connection:
        table = loading.load_table(connection, "dpiat")
        architecture = loading.load_architecture(connection, int(table.ids[0]), "dpiat")
    assert architecture is not None
    basis = embedding.fit(table)
    expected = []
    for landmark in basis.landmarks:
        total = 0.0
        for layer in architecture.layers():
            kinds: dict[tuple[str, int], int] = {(landmark.kind, landmark.n_dims): 0}
            if kind_code(kinds, layer.kind, layer.dims) == 0:
                pairs = zip(padded(layer.dims), landmark.dims, strict=True)
                total += prod(min(a / b, b / a) for a, b in pairs)
        expected.append((total / architecture.n_scoring**0.5) ** 0.5)
    vector = np.array(expected) @ basis.projection[:-1] + basis.projection[-1]
    np.testing.assert_allclose(
        embedding.query_vector(architecture, basis), vector / np.linalg.norm(vector), atol=1e-4
    )


def test_landmarks_are_distinct_and_the_same_for_a_seed(zoo: Zoo) -> None:
    with zoo.store.reading() as connection:
        table = loading.load_table(connection, "dpiat")
    first, again, other = (embedding.fit(table, seed=seed) for seed in (0, 0, 1))
    assert first.landmarks == again.landmarks
    assert np.array_equal(first.projection, again.projection)
    assert len(set(first.landmarks)) == len(first.landmarks)
    assert set(first.landmarks) <= set(other.landmarks) or first.landmarks != other.landmarks


def test_recall_counts_the_best_that_a_shortlist_holds(zoo: Zoo) -> None:
    with zoo.store.reading() as connection:
        table = loading.load_table(connection, "dpiat")
        load = partial(loading.load_architecture, connection, form="dpiat")
        n = len(table.ids)
        similar = np.stack([embedding.target_row(load(id_), table) for id_ in table.ids.tolist()])
        estimate = partial(embedding.estimate_recall, table, load, k=3, n_targets=n)
        good = np.linalg.cholesky((similar + similar.T) / 2 + np.eye(n)).astype(np.float32)
        assert estimate(good, candidates=3) > 0.9  # the similarity is not quite symmetric
        assert estimate(good, candidates=4) == 1
        assert estimate(np.roll(good, 1, axis=0), candidates=3) < 0.9
        assert estimate(np.zeros((n, 1), dtype=np.float32), candidates=n) == 1


def test_poor_recall_makes_the_index_choose_landmarks_again(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([0.2, 0.5, 0.9, 0.3])
    monkeypatch.setattr(embedding, "estimate_recall", lambda *_args, **_options: next(answers))
    with zoo.store.writing() as connection:
        row = connection.exec_driver_sql("SELECT id FROM architecture WHERE name = 'test_resnet'").scalar_one()
        connection.exec_driver_sql("DELETE FROM embedding WHERE architecture_id = ?", (row,))
        before = connection.exec_driver_sql("SELECT landmarks FROM basis").scalar_one()
    monkeypatch.setattr(upkeep, "_REFIT_FRACTION", 1.0)
    assert upkeep.embed_missing(zoo.store) == len(SMALL_ZOO) + n_packages(zoo)
    assert zoo.status()["recall"] == 0.9  # the best of three, for the old ones had 0.2
    with zoo.store.reading() as connection:
        basis = loading.load_basis(connection, "dpiat")
        after = connection.exec_driver_sql("SELECT landmarks FROM basis").scalar_one()
        table = loading.load_table(connection, "dpiat")
    assert basis is not None
    assert basis.landmarks == embedding.fit(table, seed=1).landmarks
    assert before == after or len(basis.landmarks) == 512


def test_the_vector_file_is_rebuilt_when_it_does_not_fit(zoo: Zoo) -> None:
    path = zoo.search.vector_path
    target = "test_vit2"
    expected = zoo.recommend(target).results
    zoo.search.vector_index()
    pristine = path.read_bytes()
    random = np.random.default_rng(0)
    for damage in ("flip", "truncate", "missing", "foreign"):
        if damage == "flip":
            data = bytearray(pristine)
            data[int(random.integers(len(data)))] ^= 0xFF
            path.write_bytes(data)
        elif damage == "truncate":
            path.write_bytes(pristine[: len(pristine) // 2])
        elif damage == "missing":
            path.unlink()
        else:
            vectors.save(vectors.build(np.array([1]), np.ones((1, 4), dtype=np.float32)), path)
        other = Zoo(zoo.store.path)
        assert len(other.search.vector_index()) == len(SMALL_ZOO) + n_packages(zoo)
        assert [r.name for r in other.recommend(target).results] == [r.name for r in expected]
        assert path.read_bytes() == pristine


def n_packages(zoo: Zoo) -> int:
    return len(names(zoo.store.path, catalogue="pypi"))


def test_search_finds_the_largest_inner_products() -> None:
    random = np.random.default_rng(0)
    ids = np.arange(100, 160)
    rows = random.normal(size=(60, 8)).astype(np.float32)
    query = random.normal(size=8).astype(np.float32)
    index = vectors.build(ids, rows)
    order = ids[np.argsort(-(rows @ query))]
    assert index.search(query, 7).tolist() == order[:7].tolist()
    assert len(index.search(query, 99)) == 60


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


def test_new_architectures_get_vectors_by_the_landmarks_there_are(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zoo.store.writing() as connection:
        row = connection.exec_driver_sql("SELECT id FROM architecture WHERE name = 'test_resnet'").scalar_one()
        old = connection.exec_driver_sql("SELECT * FROM embedding ORDER BY architecture_id").all()
        connection.exec_driver_sql("DELETE FROM embedding WHERE architecture_id = ?", (row,))
    monkeypatch.setattr(upkeep, "_REFIT_FRACTION", 1.0)
    assert upkeep.embed_missing(zoo.store) == 1
    assert upkeep.embed_missing(zoo.store) == 0
    with zoo.store.reading() as connection:
        assert connection.exec_driver_sql("SELECT * FROM embedding ORDER BY architecture_id").all() == old


def test_many_new_architectures_make_the_embedding_anew(zoo: Zoo) -> None:
    with zoo.store.writing() as connection:
        row = connection.exec_driver_sql("SELECT id FROM architecture WHERE name = 'test_resnet'").scalar_one()
        connection.exec_driver_sql("DELETE FROM embedding WHERE architecture_id = ?", (row,))
    assert upkeep.embed_missing(zoo.store) == len(SMALL_ZOO) + n_packages(zoo)  # one of eight is more than a tenth


def test_vectors_are_computed_without_holding_the_database(zoo: Zoo) -> None:
    with zoo.store.writing() as connection:
        connection.exec_driver_sql("DELETE FROM embedding")
    changed = []

    def change(_phase: str, _done: int, _planned: int) -> None:
        if not changed:
            changed.append(True)
            with Store(zoo.store.path).writing() as connection:
                writes.raise_generation(connection)

    assert upkeep.embed_missing(zoo.store, change) == len(SMALL_ZOO) + n_packages(zoo)
    assert changed


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
