"""A catalogue that tests change, and a zoo beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from indexes import address

from zoo_index.catalogues.catalogue import CATALOGUES
from zoo_index.database.store import Store
from zoo_index.zoo.zoo import Zoo

ROOT = Path(__file__).parents[3]


@pytest.fixture
def catalogue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue that `made_catalogue.write` changes."""
    monkeypatch.setenv("MADE_CATALOGUE", str(tmp_path / "made.json"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (ROOT / "tests" / "support", ROOT / "tests", ROOT))))
    monkeypatch.setitem(CATALOGUES, "made", "made_catalogue")


@pytest.fixture
def made(catalogue: None, store: Store) -> Iterator[Zoo]:
    """A zoo beside that catalogue, on every kind of database."""
    zoo = Zoo(address(store))
    yield zoo
    zoo.store.close()
