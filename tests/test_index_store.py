from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import nets
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from conftest import SMALL_ZOO
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, select

import transfer
from zoo_index.catalogues.catalogue import CatalogueEntry
from zoo_index.catalogues.description import FEATURES, describe
from zoo_index.database import descriptions, loading, queries, writes
from zoo_index.database.migrate import REVISION, migrations_folder
from zoo_index.database.packing import pack_ids, unpack_ids
from zoo_index.database.schema import ARCHITECTURE, BLOCK, LAYER, METADATA
from zoo_index.database.store import Store
from zoo_index.errors import IndexFileError
from zoo_index.zoo import Zoo


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store(tmp_path / "folder" / "zoo.db")
    yield found
    found.close()


def put(store: Store, name: str, module: object, version: str = "1") -> int:
    dpiat = transfer.standardize(module)  # type: ignore[arg-type]
    paper = transfer.standardize(module, method="paper")  # type: ignore[arg-type]
    with store.writing() as connection:
        id_ = descriptions.put_description(
            connection, "timm", version, describe(name, dpiat, paper, dpiat.n_elements)
        )
        writes.raise_generation(connection)
    return id_


def test_migrations_make_the_schema(store: Store) -> None:
    with store.writing() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "zoo_alembic_version"})
        difference = compare_metadata(context, METADATA)
    assert difference == []


def test_the_newest_revision_is_the_one_the_code_names() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    assert ScriptDirectory.from_config(config).get_current_head() == REVISION


def put_failure(connection: Connection) -> str:
    writes.put_failure(connection, "timm", "1", "b", "text")
    return ""


def test_a_failing_transaction_leaves_nothing(store: Store) -> None:
    put(store, "a", nets.mlp(3, 4))
    before = store.path.read_bytes()
    with pytest.raises(ZeroDivisionError), store.writing() as connection:
        assert 1 / len(put_failure(connection))
    assert store.path.read_bytes() == before
    with store.reading() as connection:
        assert queries.counts(connection)["failures"] == 0


def test_a_failing_first_migration_leaves_an_empty_database(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.writing():
        raise ZeroDivisionError
    assert not store.exists()


def test_reading_makes_no_file(store: Store) -> None:
    with pytest.raises(IndexFileError, match="found none; run: zoo index refresh"), store.reading():
        pass
    assert not store.path.exists()


def test_a_newer_database_is_refused_and_unharmed(store: Store) -> None:
    put(store, "a", nets.mlp(3, 4))
    with sqlite3.connect(store.path) as raw:
        raw.execute("UPDATE zoo_alembic_version SET version_num = 'zz_future'")
    before = store.path.read_bytes()
    with pytest.raises(IndexFileError, match="zz_future, made by a newer version"), store.writing():
        pass
    with pytest.raises(IndexFileError, match="is at zz_future"), store.reading():
        pass
    assert store.path.read_bytes() == before


def test_another_programs_database_is_refused_and_unharmed(store: Store) -> None:
    store.path.parent.mkdir()
    with sqlite3.connect(store.path) as raw:
        raw.execute("CREATE TABLE songs (id)")
    before = store.path.read_bytes()
    with pytest.raises(IndexFileError, match="found other tables"), store.writing():
        pass
    assert store.path.read_bytes() == before


def test_architectures_come_back_as_they_were(store: Store) -> None:
    for name, module in {"all": nets.AllKinds(), "conv": nets.conv_net(4, 3), "mlp": nets.mlp(3, 4, 5)}.items():
        id_ = put(store, name, module)
        for form in ("dpiat", "paper"):
            original = transfer.standardize(module, method=form)
            with store.reading() as connection:
                found = loading.load_architecture(connection, id_, form)
            assert found is not None
            assert found.fingerprint == original.fingerprint
            assert found.n_scoring == original.n_scoring


def test_the_table_ranks_as_the_architectures_do(store: Store) -> None:
    modules = {"a": nets.conv_net(4, 3), "b": nets.AllKinds(), "c": nets.conv_net(8, 2), "d": nets.mlp(8, 8)}
    for name, module in modules.items():
        put(store, name, module)
    target = transfer.standardize(nets.conv_net(6, 4), method="paper")
    from zoo_index.index.embedding import target_row

    with store.reading() as connection:
        scores = target_row(target, loading.load_table(connection, "paper"))
    expected = [transfer.similarity(module, target, measure="paper") for module in modules.values()]
    assert scores.tolist() == expected


def test_layers_and_blocks_are_stored_once(store: Store) -> None:
    put(store, "a", nets.conv_net(4, 3))
    with store.reading() as connection:
        before = (queries.counts(connection)["layers"], queries.counts(connection)["blocks"])
    put(store, "deeper", nets.conv_net(4, 9))
    with store.reading() as connection:
        assert (queries.counts(connection)["layers"], queries.counts(connection)["blocks"]) == before
        assert len(connection.execute(select(LAYER.c.id)).all()) == before[0]


def test_replacing_keeps_the_id_and_drops_the_stale_vector(store: Store) -> None:
    import numpy as np

    first = put(store, "a", nets.mlp(3, 4))
    with store.writing() as connection:
        writes.put_vectors(connection, np.array([first]), np.zeros((1, 3), dtype=np.float32))
    assert put(store, "a", nets.mlp(3, 4), version="2") == first
    with store.reading() as connection:
        assert loading.embedded_ids(connection).tolist() == [first]
    assert put(store, "a", nets.mlp(3, 5), version="3") == first
    with store.reading() as connection:
        assert loading.embedded_ids(connection).tolist() == []
        assert queries.standing(connection, "timm") == {"a": ("3", FEATURES)}


def entry(name: str, license_: str = "mit") -> CatalogueEntry:
    return CatalogueEntry(
        name=name, architecture=name.partition(".")[0], tag=name.partition(".")[2], license=license_
    )


def test_entries_follow_the_catalogue(store: Store) -> None:
    put(store, "a", nets.mlp(3, 4))
    put(store, "b", nets.mlp(3, 5))

    def sync(*entries: CatalogueEntry, partial: bool = False) -> tuple[int, list[str]]:
        with store.writing() as connection:
            n = writes.put_entries(connection, "timm", entries, partial=partial)
        with store.reading() as connection:
            return n, [row["name"] for row in queries.entry_rows(connection)]

    assert sync(entry("a.x"), entry("a.y"), entry("b.x"), entry("unknown.x")) == (3, ["a.x", "a.y", "b.x"])
    assert sync(entry("a.x"), entry("a.y"), entry("b.x")) == (0, ["a.x", "a.y", "b.x"])
    assert sync(entry("b.x", "apache-2.0"), partial=True) == (1, ["a.x", "a.y", "b.x"])
    assert sync(entry("a.y"), entry("a.x"), entry("b.z")) == (4, ["a.y", "a.x", "b.z"])


def test_dropping_architectures_takes_their_entries_and_unused_parts(store: Store) -> None:
    put(store, "a", nets.mlp(3, 4))
    put(store, "b", nets.conv_net(4, 3))
    with store.writing() as connection:
        writes.put_entries(connection, "timm", [entry("a.x"), entry("b.x")])
        assert writes.drop_architectures(connection, "timm", keep=["a"]) == 1
        writes.drop_unused(connection)
    with store.reading() as connection:
        assert [row["name"] for row in queries.entry_rows(connection)] == ["a.x"]
        (packed,) = connection.execute(select(ARCHITECTURE.c.dpiat_items)).scalars()
        blocks = connection.execute(select(BLOCK.c.id).where(BLOCK.c.form == "dpiat")).scalars().all()
        assert set(unpack_ids(packed).tolist()) == set(blocks)
        assert queries.integrity(connection) == []


@given(st.lists(st.integers(0, 2**31 - 1)))
def test_ids_come_back(ids: list[int]) -> None:
    assert unpack_ids(pack_ids(ids)).tolist() == ids


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM state",
        "UPDATE architecture SET dpiat_items = x'0102'",
        "UPDATE block SET layer_ids = x'ff'",
        "UPDATE layer SET canonical = 'junk'",
        "DELETE FROM layer WHERE id % 7 = 0",
    ],
)
def test_damaged_rows_of_a_sound_file_are_named(zoo: Zoo, damage: str) -> None:
    with sqlite3.connect(zoo.store.path) as raw:
        raw.execute(damage)
    with pytest.raises(IndexFileError, match="expected whole rows"):
        Zoo(zoo.store.path).recommend("test_vit")


def test_a_refresh_makes_a_damaged_vector_file_anew(zoo: Zoo) -> None:
    zoo.search.vector_index()
    path = zoo.search.vector_path
    path.write_bytes(path.read_bytes()[:-10])
    assert any("zoo index refresh" in line for line in zoo.verify())
    Zoo(zoo.store.path).refresh(only=SMALL_ZOO, use_snapshot=False, processes=1)
    assert zoo.verify() == []
