from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from postgres import postgres_server, postgres_url

from zoo_index.zoo import Zoo

__all__ = ["postgres_server", "postgres_url"]  # fixtures

torch.set_num_threads(1)  # several threads on busy cores are many times slower than one

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
