"""Vector files and databases of the index, damaged and hostile (see `fuzzing`)."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import sqlite3
from dataclasses import asdict
from pathlib import Path
from typing import Any

import nets
import numpy as np
import pytest
from fuzzing import Reader, fuzz, lanes, read_batch
from indexes import put
from mutations import mutated_bytes

import transfer
from transfer.errors import ZooError
from transfer.structure.standardization import FORMS
from zoo_index.database.opening import open_store
from zoo_index.index import vectors
from zoo_index.index.upkeep import embed
from zoo_index.recommending.resolve import Resolved
from zoo_index.zoo.zoo import Zoo


@lanes("vectors")
def test_vector_files(n: int, tmp_path: Path) -> None:
    rng_ = np.random.default_rng(0)
    rows, ids = rng_.random((20, 8), dtype=np.float32), np.arange(3, 23)
    stamp = vectors.Stamp("me", 1)
    files = [as_file(vectors.build(ids, rows), stamp, tmp_path / "whole")]
    path = tmp_path / "zoo.db.faiss"

    def read(rng: random.Random, folder: Path) -> None:
        path.write_bytes(mutated_bytes(rng, rng.choice(files), files))
        told = json.dumps({**asdict(stamp), "digest": vectors._digest(path)})  # of somebody who knows how
        if rng.random() < 0.1:
            told = mutated_bytes(rng, told.encode()).decode(errors="replace")
        vectors.stamp_path(path).write_text(told)
        vectors.is_altered(path, stamp)
        found = vectors.load(path, stamp)
        if found is not None:
            assert found.kind
            assert all(id_ >= 0 for id_ in found.search(rows[0], 5))

    fuzz("vectors", n, read, tmp_path)


def as_file(index: vectors.VectorIndex, stamp: vectors.Stamp, path: Path) -> bytes:
    assert vectors.save(index, path, stamp)
    return path.read_bytes()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index of a few small networks."""
    path = tmp_path_factory.mktemp("made") / "zoo.db"
    store = open_store(path)
    networks = {"a": nets.conv_net(4, 2), "b": nets.conv_net(6, 3), "m": nets.mlp(3, 5)}
    ids = [put(store, name, network) for name, network in networks.items()]
    embedded = embed(store.reading, store.writing, ids)
    assert embedded.n == 3
    store.close()
    return path


@lanes("database")
def test_databases(n: int, tmp_path: Path, database: Path) -> None:
    """Any bytes, and any values in the rows of a sound file."""
    whole = database.read_bytes()
    forms = {form: transfer.standardize(nets.conv_net(5, 2), method=form) for form in ("paper", "dpiat")}
    target = Resolved("t", 3, forms)

    def read(rng: random.Random, folder: Path) -> None:
        for left in folder.iterdir():
            left.unlink()
        path = folder / "zoo.db"
        if rng.random() < 0.5:
            path.write_bytes(mutated_bytes(rng, whole, (whole,)) or b"x")
        else:
            path.write_bytes(whole)
            damage_rows(rng, path)
        zoo = Zoo(path)
        try:
            for ask in (
                zoo.entries,
                lambda: zoo.recommend(target),
                lambda: zoo.recommend(target, measure="paper"),
                lambda: zoo.recommend("a"),
            ):
                with contextlib.suppress(ZooError):
                    ask()
        finally:
            zoo.store.close()

    fuzz("database", n, read, tmp_path)


def damage_rows(rng: random.Random, path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as raw, raw:
        raw.execute("PRAGMA ignore_check_constraints = ON")
        tables = [
            row[0] for row in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        ]
        for _ in range(rng.choice((1, 1, 3))):
            table = rng.choice(tables)
            columns = [row[1] for row in raw.execute(f"PRAGMA table_info({table})")]
            column = rng.choice(columns)
            where = rng.choice(("", f" WHERE rowid % {rng.choice((1, 2, 3))} = 0"))
            old = raw.execute(f"SELECT {column} FROM {table}").fetchone()
            new: Any = rng.choice(
                (None, 0, 1, -1, 2**31, 2**62, 1.5, "", "x", b"", b"\xff", "[]", '["conv2d",[]]', "9" * 30)
            )
            if old and isinstance(old[0], bytes) and rng.random() < 0.7:
                new = mutated_bytes(rng, old[0])
            elif old and isinstance(old[0], str) and rng.random() < 0.5:
                new = mutated_bytes(rng, old[0].encode()).decode(errors="replace")
            with contextlib.suppress(sqlite3.Error, OverflowError):
                if rng.random() < 0.2:
                    raw.execute(f"DELETE FROM {table}{where}")
                else:
                    raw.execute(f"UPDATE {table} SET {column} = ?{where}", (new,))


# what was found ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_flat", [1_000_000, 10])
def test_counts_of_a_vector_file_that_do_not_agree(n_flat: int, tmp_path: Path, monkeypatch: Any) -> None:
    """Faiss does not survive some of them."""
    monkeypatch.setattr(vectors, "MOST_FLAT", n_flat)
    stamp, path = vectors.Stamp("me", 1), tmp_path / "zoo.db.faiss"
    rows = np.random.default_rng(0).random((7000, 2), dtype=np.float32)
    whole = as_file(vectors.build(np.arange(7000), rows), stamp, path)
    found = vectors.load(path, stamp, 2)
    assert found is not None
    assert found.search(rows[0], 3).shape == (3,)
    assert vectors.load(path, stamp, 3) is None

    def put_number(rng: random.Random, folder: Path) -> None:
        data = bytearray(whole)
        at = rng.randrange(200) if rng.random() < 0.7 else rng.randrange(len(data) - 8)
        size = rng.choice((4, 8))
        number = rng.choice((0, 1, 2**20, 2**31 - 1, 2**40, 2**63 - 1)) & (256**size - 1)
        data[at : at + size] = number.to_bytes(size, "little")
        path.write_bytes(data)
        told = json.dumps({**asdict(stamp), "digest": vectors._digest(path)})
        vectors.stamp_path(path).write_text(told)
        taken = vectors.load(path, stamp, 2)
        if taken is not None:
            taken.search(rows[0], 3)

    assert not read_batch(put_number, list(range(300)), tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE block SET layer_ids = x''",
        "UPDATE block SET layer_ids = substr(layer_ids, 1, length(layer_ids) - 1)",
        "DELETE FROM block WHERE id = (SELECT max(id) FROM block)",
        "DELETE FROM layer WHERE id = (SELECT max(id) FROM layer WHERE form = 'paper')",
        "DELETE FROM layer",
        "UPDATE architecture SET n_params = 'many'",
        "UPDATE architecture SET n_dpiat = -1, n_paper = -1",
        "UPDATE architecture SET facts = x'789c'",
        "UPDATE entry SET position = 'first'",
        "UPDATE layer SET canonical = '1.5'",
    ],
)
def test_rows_that_nobody_wrote(damage: str, tmp_path: Path, database: Path) -> None:
    shutil.copy(database, tmp_path / "zoo.db")
    with contextlib.closing(sqlite3.connect(tmp_path / "zoo.db")) as raw, raw:
        raw.execute("PRAGMA ignore_check_constraints = ON")
        raw.execute(damage)

    def ask(measure: str) -> Reader:
        target = Resolved("t", 3, {form: transfer.standardize(nets.conv_net(5, 2), method=form) for form in FORMS})

        def read(rng: random.Random, folder: Path) -> None:
            Zoo(tmp_path / "zoo.db").recommend(target, measure=measure)
            raise AssertionError("taken for whole")

        return read

    failed = [read_batch(ask(measure), [0], tmp_path) for measure in FORMS]
    assert not all(failed)
    assert all("taken for whole" in one for one in failed if one)
