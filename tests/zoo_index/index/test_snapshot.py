"""The shipped snapshot, and the first use of an index that starts from it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nets
import pytest
from indexes import SMALL_ZOO, address, prepare, publish_listed, put

import transfer
from transfer.errors import OutputError
from zoo_index.catalogues.timm_catalogue import build
from zoo_index.database import loading, queries, writes
from zoo_index.database.opening import open_store
from zoo_index.database.sqlite import SqliteStore
from zoo_index.database.store import Store
from zoo_index.errors import EmptyIndexError, IndexFileError
from zoo_index.index import snapshot
from zoo_index.zoo.zoo import Zoo

FITS = snapshot.snapshot_fits()
fits = pytest.mark.skipif(not FITS and "CI" not in os.environ, reason="the snapshot was made from another timm")


def filled(place: Path | str, folder: Path | None = None) -> Store:
    """Fill an index from a snapshot and publish it."""
    store = open_store(place)
    assert snapshot.fill_from_snapshot(store, folder)
    with store.writing() as connection:
        writes.raise_generation(connection)
    return store


def test_a_snapshot_gives_the_same_answers(zoo: Zoo, tmp_path: Path) -> None:
    provenance = zoo.export(tmp_path / "data")
    assert provenance["architectures"] == len(SMALL_ZOO)
    other = filled(tmp_path / "other" / "zoo.db", tmp_path / "data")
    filters_timm = [r.name for r in zoo.recommend("test_vit", k=50).results if r.catalogue == "timm"]
    assert [r.name for r in Zoo(other.name).recommend("test_vit", k=50).results] == filters_timm
    assert Zoo(other.name).verify() == []
    assert not snapshot.fill_from_snapshot(other, tmp_path / "data")  # an index that is there stays


def test_nothing_of_a_snapshot_is_seen_before_it_is_published(zoo: Zoo, store: Store, tmp_path: Path) -> None:
    zoo.export(tmp_path / "data")
    for _ in range(2):  # the second time goes on from the first, which may have been killed then
        assert snapshot.fill_from_snapshot(store, tmp_path / "data")
        assert Zoo(store.name).view().generation == 0
        with store.reading() as connection:
            assert queries.counts(connection, 1)["architectures"] == len(SMALL_ZOO)
            assert queries.entry_names(connection, 0) == set()


def test_what_an_interrupted_refresh_prepared_is_not_thrown_away(zoo: Zoo, store: Store, tmp_path: Path) -> None:
    zoo.export(tmp_path / "data")
    prepare(store, mine=nets.conv_net(4, 3))
    assert not snapshot.fill_from_snapshot(store, tmp_path / "data")
    with pytest.raises(EmptyIndexError, match=r"interrupted.*run: zoo index refresh"):
        Zoo(address(store)).entries()
    assert publish_listed(store, "mine.x").new == ["mine"]  # as the refresh that goes on does
    assert [entry["name"] for entry in Zoo(address(store)).entries()] == ["mine.x"]


def test_the_vector_file_never_has_the_databases_name(zoo: Zoo, tmp_path: Path) -> None:
    path = tmp_path / "odd?name.faiss"
    path.write_bytes(Path(zoo.store.name).read_bytes())
    other = Zoo(path)
    assert other.recommend("test_vit").results == zoo.recommend("test_vit").results
    assert len(other.view().search.vector_index)
    assert other.status()["architectures"] == zoo.status()["architectures"]
    assert path.read_bytes()[:6] == b"SQLite"


@fits
def test_the_shipped_snapshot_is_what_the_code_would_make(tmp_path: Path) -> None:
    store = filled(tmp_path / "zoo.db")
    with store.reading() as connection:
        stored = {name: (id_, fingerprint) for id_, name, fingerprint in queries.fingerprints(connection, 1)}
        assert len(stored) > 1000
        for name in ("resnet50", "vit_tiny_patch16_224", "efficientnet_b0", "swin_tiny_patch4_window7_224"):
            id_, fingerprint = stored[name]
            assert transfer.standardize(build(name)).fingerprint == fingerprint
            paper = loading.load_architecture(connection, id_, "paper")
            assert paper is not None
            assert paper.fingerprint == transfer.standardize(build(name), method="paper").fingerprint


def test_a_snapshot_of_another_timm_does_not_fit(zoo: Zoo, tmp_path: Path) -> None:
    provenance = zoo.export(tmp_path / "data")
    assert snapshot.snapshot_fits(snapshot.read_provenance(tmp_path / "data"))
    for key, other in (("timm", "0.1"), ("features", -1), ("revision", "9999")):
        assert not snapshot.snapshot_fits({**provenance, key: other})


def test_a_damaged_snapshot_is_refused(zoo: Zoo, store: Store, tmp_path: Path) -> None:
    zoo.export(tmp_path / "data")
    packed = tmp_path / "data" / "index.sqlite.gz"
    packed.write_bytes(packed.read_bytes()[:-1] + b"x")
    with pytest.raises(IndexFileError, match="its checksum differs"):
        snapshot.fill_from_snapshot(store, tmp_path / "data")
    packed.unlink()
    with pytest.raises(IndexFileError, match="expected the snapshot"):
        snapshot.fill_from_snapshot(store, tmp_path / "data")
    assert Zoo(store.name).view().generation == 0


def test_an_export_that_cannot_be_written_says_so(zoo: Zoo, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="expected to write a snapshot"):
        zoo.export(tmp_path / "file" / "data")


def test_an_incomplete_index_is_not_exported(store: Store, tmp_path: Path) -> None:
    put(store, "a", nets.mlp(3, 4), version="1")
    put(store, "b", nets.mlp(3, 5), version="2")
    with pytest.raises(IndexFileError, match="found 2 versions"):
        Zoo(store.name).export(tmp_path / "data")


# --- the first use ---------------------------------------------------------------------------------------

COUNT = "import sys, zoo_index; print(len({e['catalogue'] for e in zoo_index.open_zoo(sys.argv[1]).entries()}))"


def first_use(place: Path) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", COUNT, str(place)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@fits
@pytest.mark.slow
def test_processes_that_come_first_at_the_same_time_all_find_everything(tmp_path: Path) -> None:
    """As when every rank of a training job warms up its model."""
    processes = [first_use(tmp_path / "zoo.db") for _ in range(4)]
    for process in processes:
        out, error = process.communicate(timeout=240)
        assert (process.returncode, out) == (0, "3\n"), error  # timm, torchvision, and the weights that are here


@fits
@pytest.mark.parametrize("how", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_first_use_that_is_killed_leaves_no_half_of_it(tmp_path: Path, how: signal.Signals) -> None:
    place = tmp_path / "zoo.db"
    seen = set()
    for patience in (0.0, 0.3, 1.0):
        process = first_use(place)
        while not place.exists() and process.poll() is None:
            time.sleep(0.01)
        time.sleep(patience)
        process.send_signal(how)
        process.communicate(timeout=60)
        if place.exists() and SqliteStore(place).exists():
            with SqliteStore(place).reading() as connection:
                generation = queries.generation(connection)
                seen.add((generation, len(queries.by_catalogue(connection, generation))))
    assert seen <= {(0, 0), (1, 3)}
    out, error = first_use(place).communicate(timeout=240)
    assert out == "3\n", error
