"""What every benchmark says of itself: machine, versions, results as JSON."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zoo_index.database.store import Store

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "timm", "numba", "numpy", "safetensors", "faiss-cpu", "SQLAlchemy")


def n_cores() -> int:
    return len(os.sched_getaffinity(0))


def described(name: str, figures: dict[str, Any], packages: Sequence[str] = PACKAGES) -> dict[str, Any]:
    """Put before the figures what they were measured on."""
    return {
        "benchmark": name,
        "made_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.machine(),
        "cores": n_cores(),
        "python": platform.python_version(),
        "versions": {package: metadata.version(package) for package in packages},
        **figures,
    }


def write(path: Path, result: dict[str, Any]) -> None:
    """Write JSON, whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(result, indent=1) + "\n")
    temporary.replace(path)


def save(name: str, figures: dict[str, Any], packages: Sequence[str] = PACKAGES) -> None:
    """Write ``results/<name>.json`` and print it."""
    result = described(name, figures, packages)
    write(RESULTS / f"{name}.json", result)
    print(json.dumps(result, indent=1))


def shipped_index(folder: str) -> Store:
    """Open an index of the shipped snapshot alone in a folder."""
    from zoo_index.database import writes
    from zoo_index.database.opening import open_store
    from zoo_index.index.snapshot import fill_from_snapshot, snapshot_fits

    assert snapshot_fits(), "the shipped snapshot does not fit the installed timm; run: make snapshot"
    store = open_store(Path(folder) / "zoo.db")
    fill_from_snapshot(store)
    with store.writing() as connection:
        writes.raise_generation(connection)
    return store
