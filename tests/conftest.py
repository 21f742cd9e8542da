from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # several threads on busy cores are many times slower than one

import torch
from browser import browser
from hypothesis import settings
from postgres import postgres_server, postgres_url
from sqlalchemy import update

import transfer
from zoo_index.catalogues.catalogue import CatalogueEntry
from zoo_index.catalogues.description import Description, describe
from zoo_index.database import descriptions, queries
from zoo_index.database.copying import copy_content
from zoo_index.database.opening import open_store
from zoo_index.database.publishing import Changes, Listing, publish
from zoo_index.database.schema import STATE
from zoo_index.database.store import Connection, Store
from zoo_index.zoo.zoo import Zoo

__all__ = ["browser", "postgres_server", "postgres_url"]  # fixtures

torch.set_num_threads(1)

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as in background jobs; processes that tests start inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("default", deadline=None, derandomize=True, max_examples=150)
settings.load_profile("default")

SMALL_ZOO = ("test_vit", "test_vit2", "test_resnet", "test_efficientnet", "test_convnext", "efficientnet_lite0")


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
    Zoo(path).refresh(only=SMALL_ZOO, use_snapshot=False, processes=1)
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


def description_of(name: str, module: torch.nn.Module) -> Description:
    """Describe a network as a catalogue does."""
    dpiat, paper = transfer.standardize(module), transfer.standardize(module, method="paper")
    return describe(name, dpiat, paper, dpiat.n_elements)


def entries_named(*names: str) -> list[CatalogueEntry]:
    """Entries ``architecture.tag`` as a catalogue lists them."""
    return [CatalogueEntry(name, name.partition(".")[0], name.partition(".")[2], license="mit") for name in names]


def prepare(store: Store, version: str = "1", **modules: torch.nn.Module) -> int:
    """Standardize networks for the next generation of the catalogue timm."""
    made = [description_of(name, module) for name, module in modules.items()]
    with store.writing() as connection:
        return descriptions.prepare(connection, "timm", version, made)


def publish_listed(store: Store, *names: str, is_whole: bool = True) -> Changes:
    """Let the catalogue timm list these entries from the next generation on."""
    with store.writing() as connection:
        return publish(connection, [Listing("timm", entries_named(*names), is_whole=is_whole)])[0]


def put(store: Store, name: str, module: torch.nn.Module, version: str = "1") -> int:
    """Prepare one network and publish it; return its id."""
    prepare(store, version, **{name: module})
    publish_listed(store, f"{name}.x", is_whole=False)
    with store.reading() as connection:
        return ids_of(connection, [name])[0]


def ids_of(connection: Connection, names: Sequence[str]) -> list[int]:
    """Ids of standing architectures."""
    generation = queries.generation(connection)
    found = {name: id_ for id_, name, _ in queries.fingerprints(connection, generation)}
    return [found[name] for name in names]


def address(store: Store) -> str:
    """Where a store is, so that another process can open it."""
    return store.place
