from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # several threads on busy cores are many times slower than one

import torch
from browser import browser
from hypothesis import settings
from indexes import SMALL_ZOO
from postgres import postgres_server, postgres_url
from sqlalchemy import update

from zoo_index.database import queries
from zoo_index.database.copying import copy_content
from zoo_index.database.opening import open_store
from zoo_index.database.schema import STATE
from zoo_index.database.store import Store
from zoo_index.engines import open_engine
from zoo_index.jobs.refresh import refresh
from zoo_index.zoo.zoo import Zoo

__all__ = ["browser", "postgres_server", "postgres_url"]  # fixtures

torch.set_num_threads(1)

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as in background jobs; processes that tests start inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("default", deadline=None, derandomize=True, max_examples=150)
settings.load_profile("default")


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees the user's index or caches, or reaches a hub."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("ZOO_DB", str(home / "zoo.db"))
    monkeypatch.setenv("HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setenv("TORCH_HOME", str(home / "torch"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "config"))


@pytest.fixture(autouse=True)
def code_runs_here(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The code of targets runs in this process, as on Windows, which spares an import of torch for each test.

    Modules with ``CONTAINED = True`` run it as users do.
    """
    if not getattr(request.module, "CONTAINED", False):
        monkeypatch.setattr("zoo_index.contained.questions._CAN_CONTAIN", False)
        monkeypatch.setattr(sys, "dont_write_bytecode", True)  # folders are compared with what they were


@pytest.fixture(scope="session")
def small_index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with a few architectures of timm."""
    path = tmp_path_factory.mktemp("index") / "zoo.db"
    zoo = Zoo(path)
    refresh(zoo.store, engine=open_engine("inline"), only=SMALL_ZOO, seconds=None)
    zoo.store.close()
    return path


@pytest.fixture
def zoo(small_index: Path, tmp_path: Path) -> Zoo:
    """A zoo of one's own, as in `small_index`."""
    path = tmp_path / "zoo.db"
    shutil.copy(small_index, path)
    return Zoo(path)


@pytest.fixture(params=["sqlite", "postgresql"])
def zoo_everywhere(request: pytest.FixtureRequest, small_index: Path, tmp_path: Path) -> Iterator[Zoo]:
    """As `zoo`, on every kind of database."""
    if request.param == "sqlite":
        shutil.copy(small_index, tmp_path / "zoo.db")
        found = Zoo(tmp_path / "zoo.db")
    else:
        found = Zoo(request.getfixturevalue("postgres_url"))
        source = open_store(small_index)
        with source.reading() as content, found.store.writing() as connection:
            copy_content(content, connection)
            connection.execute(update(STATE).values(generation=queries.generation(content)))
        source.close()
    yield found
    found.store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """An empty store of one's own, on every kind of database."""
    is_file = request.param == "sqlite"
    found = open_store(tmp_path / "store.db" if is_file else request.getfixturevalue("postgres_url"))
    yield found
    found.close()
