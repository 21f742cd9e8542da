"""What every benchmark says of itself: machine, versions, results as JSON."""

from __future__ import annotations

import json
import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "timm", "numba", "numpy", "safetensors", "faiss-cpu", "SQLAlchemy")


def n_cores() -> int:
    return len(os.sched_getaffinity(0))


def save(name: str, figures: dict[str, Any]) -> None:
    """Write ``results/<name>.json`` and print it."""
    RESULTS.mkdir(exist_ok=True)
    result = {
        "benchmark": name,
        "made_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": platform.machine(),
        "cores": n_cores(),
        "python": platform.python_version(),
        "versions": {package: metadata.version(package) for package in PACKAGES},
        **figures,
    }
    text = json.dumps(result, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n")
    print(text)
