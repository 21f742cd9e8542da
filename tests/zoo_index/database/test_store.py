from __future__ import annotations

import sqlite3
from pathlib import Path

import nets
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import given
from hypothesis import strategies as st
from indexes import SMALL_ZOO, put
from sqlalchemy import Connection, select

import transfer
from transfer.errors import InputError
from zoo_index.database import loading, queries, writes
from zoo_index.database.migrate import REVISION, migrations_folder
from zoo_index.database.packing import pack_ids, unpack_ids
from zoo_index.database.schema import LAYER, METADATA
from zoo_index.database.sqlite import SqliteStore
from zoo_index.database.store import Store
from zoo_index.errors import IndexFileError
from zoo_index.zoo.zoo import Zoo


@pytest.fixture
def file(tmp_path: Path) -> SqliteStore:
    """A store that is not there yet, in a folder that is not there yet."""
    return SqliteStore(tmp_path / "folder" / "zoo.db")


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
    with pytest.raises(ZeroDivisionError), store.writing() as connection:
        assert 1 / len(put_failure(connection))
    with store.reading() as connection:
        assert queries.counts(connection, 1)["failures"] == 0


def test_a_failing_transaction_leaves_the_file_as_it_was(file: SqliteStore) -> None:
    put(file, "a", nets.mlp(3, 4))
    before = file.path.read_bytes()
    with pytest.raises(ZeroDivisionError), file.writing() as connection:
        assert 1 / len(put_failure(connection))
    assert file.path.read_bytes() == before


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("mysql://root:secret@host/zoo", "an address of 'mysql'"),
        ("postgresql+asyncpg://host/zoo", "an address of 'postgresql"),
        ("", "a file for the index"),
        (".", "a file for the index"),
        ("/", "a file for the index"),
        ("a\0b", "NUL"),
    ],
)
def test_what_is_no_place_for_an_index_is_refused(place: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as refused:
        Zoo(place)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("days", [-1, float("nan"), 1e300])
def test_days_that_are_none(zoo: Zoo, days: float) -> None:
    with pytest.raises(InputError, match="expected 0 to 100,000 days"):
        zoo.vacuum(days)


def test_reading_makes_no_file(file: SqliteStore) -> None:
    with pytest.raises(IndexFileError, match="found none; run: zoo index refresh"), file.reading():
        pass
    assert not file.path.exists()


def test_reading_makes_no_tables(store: Store) -> None:
    with pytest.raises(IndexFileError, match="found none; run: zoo index refresh"), store.reading():
        pass
    assert not store.exists()


def test_a_newer_database_is_refused_and_unharmed(store: Store) -> None:
    put(store, "a", nets.mlp(3, 4))
    with store.writing() as connection:
        connection.exec_driver_sql("UPDATE zoo_alembic_version SET version_num = 'zz_future'")
    with pytest.raises(IndexFileError, match="zz_future, made by a newer version"), store.writing():
        pass
    with pytest.raises(IndexFileError, match="is at zz_future"), store.reading():
        pass


def test_another_programs_database_is_refused_and_unharmed(file: SqliteStore) -> None:
    file.path.parent.mkdir()
    with sqlite3.connect(file.path) as raw:
        raw.execute("CREATE TABLE songs (id)")
    before = file.path.read_bytes()
    with pytest.raises(IndexFileError, match="found other tables"), file.writing():
        pass
    assert file.path.read_bytes() == before


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
        scores = target_row(target, loading.load_table(connection, "paper", len(modules)))
    expected = [transfer.similarity(module, target, measure="paper") for module in modules.values()]
    assert scores.tolist() == expected


def test_layers_and_blocks_are_stored_once(store: Store) -> None:
    def counts() -> tuple[int, int]:
        with store.reading() as connection:
            found = queries.counts(connection, 1)
            assert len(connection.execute(select(LAYER.c.id)).all()) == found["layers"]
        return found["layers"], found["blocks"]

    put(store, "a", nets.conv_net(4, 3))
    before = counts()
    put(store, "deeper", nets.conv_net(4, 9))
    assert counts() == before


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
    with sqlite3.connect(zoo.store.name) as raw:
        raw.execute(damage)
    with pytest.raises(IndexFileError, match="expected whole rows"):
        Zoo(zoo.store.name).recommend("test_vit")


def test_a_refresh_makes_a_damaged_vector_file_anew(zoo: Zoo) -> None:
    assert len(zoo.view().search.vector_index) == zoo.status()["architectures"]
    path = zoo.store.vector_path
    path.write_bytes(path.read_bytes()[:-10])
    assert any("zoo index refresh" in line for line in zoo.verify())
    Zoo(zoo.store.name).refresh(only=SMALL_ZOO, use_snapshot=False, processes=1)
    assert zoo.verify() == []


def test_of_two_files_made_by_name_alone_neither_is_taken_for_the_other(zoo: Zoo, tmp_path: Path) -> None:
    """The vectors of another index, at the same place and of the same generation, are not used."""
    other = Zoo(tmp_path / "other.db")
    other.refresh(only=["test_vit"], use_snapshot=False, processes=1)
    assert len(other.view().search.vector_index) == 1
    assert len(zoo.view().search.vector_index) > 1
    for suffix in ("", ".json"):
        Path(f"{zoo.store.vector_path}{suffix}").write_bytes(
            Path(f"{other.store.vector_path}{suffix}").read_bytes()
        )
    again = Zoo(zoo.store.name)
    assert len(again.view().search.vector_index) == again.status()["architectures"] > 1
