"""Indexes that older versions made, opened with this one."""

from __future__ import annotations

import gzip
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from zoo_index.catalogues.description import FEATURES
from zoo_index.database import migrate, queries, sqlite
from zoo_index.database import store as store_module
from zoo_index.database.migrate import REVISION, migrations_folder
from zoo_index.database.schema import METADATA
from zoo_index.database.sqlite import SqliteStore
from zoo_index.engines import open_engine
from zoo_index.errors import IndexFileError
from zoo_index.jobs.refresh import refresh
from zoo_index.zoo.zoo import Zoo

FROZEN = Path(__file__).parents[2] / "assets" / "frozen"
REVISIONS = sorted(path.name.partition(".")[0] for path in FROZEN.glob("*.sqlite.gz"))
WITH_GENERATIONS = "0007"
WITH_METRICS = [revision for revision in REVISIONS if revision >= "0004"]
KEPT = {
    "entry": "name, catalogue, tag, family, position, license, input_size, n_classes, hub_id, url, path",
    "architecture": "name, catalogue, catalogue_version, features, fingerprint, n_params, dpiat_items, paper_items",
    "layer": "id, form, digest, canonical",
    "block": "id, form, digest, layer_ids",
    "run": "id, kind, n_planned, n_done, n_failed, detail",
    "failure": "catalogue, name, error",
    "metric": "dataset, name, top1, top5, image_size",
}
"""What no migration may touch."""


def unpack(revision: str, folder: Path) -> Path:
    path = folder / "zoo.db"
    path.write_bytes(gzip.decompress((FROZEN / f"{revision}.sqlite.gz").read_bytes()))
    return path


@pytest.fixture(params=REVISIONS)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An index as code of some revision left it."""
    return unpack(request.param, tmp_path)


@pytest.fixture
def zoo(old: Path) -> Iterator[Zoo]:
    """The same, as a user opens it."""
    found = Zoo(old)
    yield found
    found.store.close()


def rows(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    with sqlite3.connect(path) as raw:
        tables = {name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        return {
            table: raw.execute(f"SELECT {columns} FROM {table} ORDER BY 1, 2").fetchall()
            for table, columns in KEPT.items()
            if table in tables
        }


def revision_of(path: Path) -> str:
    with sqlite3.connect(path) as raw:
        return str(raw.execute("SELECT version_num FROM zoo_alembic_version").fetchone()[0])


def test_every_older_schema_is_frozen() -> None:
    known = {path.name.partition("_")[0] for path in (migrations_folder() / "versions").glob("*_*.py")}
    assert known - {REVISION} <= set(REVISIONS) <= known


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_frozen_index_is_small_and_speaks_of_no_machine(revision: str, tmp_path: Path) -> None:
    assert (FROZEN / f"{revision}.sqlite.gz").stat().st_size < 300_000
    path = unpack(revision, tmp_path)
    assert revision_of(path) == revision
    paths = [row[-1] for row in rows(path)["entry"] if row[-1]]
    assert sorted(paths) == ["/data/efficientnet-lite0.pth", "/data/mine.safetensors"]
    assert not any(word in path.read_bytes() for word in (b"/home/", b"/root/", b"/tmp/", b"site-packages"))


@pytest.mark.parametrize("how", ["reading", "writing"])
def test_an_old_index_becomes_one_of_today(old: Path, how: str) -> None:
    before, whole, revision = rows(old), dump(old), revision_of(old)
    store = SqliteStore(old)
    with getattr(store, how)() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "zoo_alembic_version"})
        assert compare_metadata(context, METADATA) == []
    store.close()
    assert revision_of(old) == REVISION
    after = rows(old)
    assert {table: after[table] for table in before} == before
    assert (len(after["architecture"]), len(after["entry"]), len(after["failure"])) == (8, 14, 1)
    with sqlite3.connect(old) as raw:
        assert raw.execute("PRAGMA quick_check").fetchall() == [("ok",)]
        assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
        running = raw.execute("SELECT status FROM run WHERE status = 'running'").fetchall()
        assert len(running) == (revision >= WITH_GENERATIONS)  # since then the next lease says that it is lost
    # as it was, it lies beside
    backup = old.with_name(f"zoo.db.{revision}.bak")
    assert dump(backup) == whole
    assert sorted(path.name for path in old.parent.glob("*zoo.db*")) == ["zoo.db", backup.name]


def dump(path: Path) -> list[str]:
    with sqlite3.connect(path) as raw:
        return list(raw.iterdump())


def test_an_index_that_cannot_be_upgraded_where_it_is_says_so(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = old.read_bytes()

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(SqliteStore, "_back_up", refuse)
    store = SqliteStore(old)
    with pytest.raises(IndexFileError, match=r"expected to upgrade the index .*No space left"), store.reading():
        pass
    store.close()
    assert old.read_bytes() == before


@pytest.mark.parametrize("old", [REVISIONS[0], REVISIONS[-1]], indirect=True)
def test_two_processes_upgrade_it_once(old: Path) -> None:
    code = "import sys, zoo_index; print(len(zoo_index.open_zoo(sys.argv[1]).entries()))"
    n_generations = 3 if revision_of(old) >= WITH_GENERATIONS else 1
    both = [
        subprocess.Popen([sys.executable, "-c", code, str(old)], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    assert [process.communicate(timeout=120)[0] for process in both] == ["14\n", "14\n"]
    with sqlite3.connect(old) as raw:
        assert raw.execute("SELECT count(*) FROM generation").fetchone() == (n_generations,)


@pytest.mark.parametrize("revision", WITH_METRICS)
def test_metrics_outlive_migrations(revision: str, tmp_path: Path) -> None:
    path = unpack(revision, tmp_path)
    with Zoo(path).store.writing():
        pass
    assert [row[:2] for row in rows(path)["metric"]] == [
        ("imagenet", name) for name in ("efficientnet_lite0.ra_in1k", "resnet18.a1_in1k", "vgg11.tv_in1k")
    ]


def test_a_migrated_index_answers(zoo: Zoo) -> None:
    assert {entry["name"] for entry in zoo.entries()} >= {"test_vit.r160_in1k", "mine", "efficientnet_lite0.pypi"}
    assert zoo.entry("mine")["license"] == "apache-2.0"
    found = zoo.recommend("test_resnet").results
    assert (found[0].name, round(found[0].similarity, 6)) == ("test_resnet.r160_in1k", 1.0)
    assert {"mine", "resnet18.a1_in1k"} <= {result.name for result in found}
    is_old = features(zoo) != {FEATURES}
    wrong = zoo.verify()
    assert [line for line in wrong if "older standardization" not in line] == []
    assert bool(wrong) == is_old  # what is old in it is said, not hidden


def features(zoo: Zoo) -> set[int]:
    with sqlite3.connect(zoo.store.name) as raw:
        return {row[0] for row in raw.execute("SELECT features FROM architecture WHERE died IS NULL")}


def test_a_watched_target_an_addition_and_a_removal_work_in_it(zoo: Zoo) -> None:
    zoo.add(FROZEN / "mine.safetensors", "again")
    assert zoo.recommend(str(FROZEN / "mine.safetensors"), k=1).results[0].similarity == pytest.approx(1)
    zoo.remove("again")
    zoo.remove("mine")
    assert not any(entry["catalogue"] == "local" for entry in zoo.entries())
    assert zoo.diff().entries_retired == ("mine",)


def test_a_refresh_brings_what_catalogues_list_up_to_date(zoo: Zoo) -> None:
    names = ["test_vit", "test_resnet", "test_efficientnet", "resnet18", "vgg11", "efficientnet_lite0"]
    report = refresh(zoo.store, engine=open_engine("inline"), seconds=None, only=names)
    assert (report.retired, report.failed) == ([], {})
    with sqlite3.connect(zoo.store.name) as raw:
        query = "SELECT DISTINCT features FROM architecture WHERE catalogue != 'local' AND died IS NULL"
        assert raw.execute(query).fetchall() == [(FEATURES,)]
        assert raw.execute("SELECT count(*) FROM entry WHERE died IS NULL").fetchone() == (14,)
        assert raw.execute("PRAGMA foreign_key_check").fetchall() == []
    assert all("'mine'" in line for line in zoo.verify())  # its file is not here


@pytest.mark.parametrize(
    "old",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name not in (REVISIONS[0], REVISIONS[-1])))
        for name in REVISIONS
    ],
    indirect=True,
)
def test_local_entries_are_standardized_again_where_their_file_is(old: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.safetensors"
    shutil.copy(FROZEN / "mine.safetensors", file)
    with sqlite3.connect(old) as raw:
        raw.execute("UPDATE entry SET path = ? WHERE name = 'mine'", (str(file),))
    zoo = Zoo(old)
    is_old = revision_of(old) < "0006"
    report = refresh(zoo.store, engine=open_engine("inline"), seconds=None, catalogues=[])
    assert (report.stale, report.standardized) == ([], int(is_old))
    with zoo.store.reading() as connection:
        generation = queries.generation(connection)
        outdated = queries.outdated(connection, generation, FEATURES)
    assert "mine" not in [row["name"] for row in outdated]
    fresh = Zoo(tmp_path / "fresh.db")
    fresh.add(file, "mine")
    assert zoo.entry("mine")["fingerprint"] == fresh.entry("mine")["fingerprint"]
    zoo.store.close()


# --- migrations that fail ----------------------------------------------------------------------------------

BROKEN = '''"""The last migration.

Revision ID: zz
Revises: {newest}
"""

import os, signal
import sqlalchemy as sa
from alembic import op

revision = "zz"
down_revision = "{newest}"


def upgrade() -> None:
    op.add_column("architecture", sa.Column("more", sa.LargeBinary(), nullable=True))
    op.execute("UPDATE entry SET license = 'lost'")
    op.execute("DELETE FROM layer")
    {end}
'''


def broken_migrations(folder: Path, end: str) -> Path:
    """Today's migrations, and one more that fails when it has done half of its work."""
    shutil.copytree(migrations_folder(), folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "zz_broken.py").write_text(BROKEN.format(newest=REVISION, end=end))
    return folder


def test_a_migration_that_fails_leaves_the_file_as_it_was(
    old: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = old.read_bytes()
    folder = broken_migrations(tmp_path / "migrations", "raise ZeroDivisionError")
    monkeypatch.setattr(migrate, "migrations_folder", lambda: folder)
    for module in (migrate, sqlite, store_module):
        monkeypatch.setattr(module, "REVISION", "zz")
    revision = revision_of(old)
    store = SqliteStore(old)
    with (
        pytest.raises(IndexFileError, match=r"from revision .* got ZeroDivisionError: .*it is as it was"),
        store.writing(),
    ):
        pass
    store.close()
    assert old.read_bytes() == before
    left = sorted(path.name for path in tmp_path.iterdir() if "zoo.db" in path.name)
    assert left == ["zoo.db", f"zoo.db.{revision}.bak"]


def test_a_program_killed_while_it_migrates_leaves_the_index_as_it_was(old: Path, tmp_path: Path) -> None:
    before = old.read_bytes()
    # with hardly any cache, so that half of the work is in the file when the program dies
    end = 'op.execute("PRAGMA cache_spill = 1"); op.get_bind().exec_driver_sql("PRAGMA cache_size = 1")'
    end += "; op.execute(\"UPDATE block SET digest = digest || 'x'\"); os.kill(os.getpid(), signal.SIGKILL)"
    folder = broken_migrations(tmp_path / "migrations", end)
    code = (
        "import sys; from pathlib import Path; from zoo_index.database import migrate, sqlite, store\n"
        "migrate.migrations_folder = lambda: Path(sys.argv[2])\n"
        "migrate.REVISION = sqlite.REVISION = store.REVISION = 'zz'\n"
        "sqlite._set_pragmas = lambda *_: None\n"  # one of them keeps all in memory until it is committed
        "with sqlite.SqliteStore(Path(sys.argv[1])).writing(): pass"
    )
    done = subprocess.run([sys.executable, "-c", code, str(old), str(folder)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert old.read_bytes() != before  # half of the work, and the journal that takes it back
    assert old.with_name("zoo.db-journal").exists()
    with sqlite3.connect(old) as raw:
        assert raw.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    assert old.read_bytes() == before
    with Zoo(old).store.writing():
        pass
    assert revision_of(old) == REVISION
