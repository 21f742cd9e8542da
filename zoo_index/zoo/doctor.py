"""What could be wrong with this installation, and what to do about it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from transfer.errors import ZooError
from zoo_index.foundation.counting import counted
from zoo_index.hub.file_stamps import changes_in
from zoo_index.index.repair import find_repairable
from zoo_index.index.snapshot import read_provenance, snapshot_fits
from zoo_index.zoo.zoo import Zoo

__all__ = ["Finding", "examine"]

_PACKAGES = ("torch", "timm", "numpy", "numba", "safetensors", "SQLAlchemy", "alembic", "faiss-cpu")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Parameters
    ----------
    topic : str
    status : {'ok', 'note', 'problem'}
    text : str
        What was found, and for a problem what to do.
    """

    topic: str
    status: str
    text: str


def examine(zoo: Zoo, call: str = "zoo") -> list[Finding]:
    """Look at versions, index, snapshot, caches and weights at hand.

    Parameters
    ----------
    zoo : Zoo
    call : str
        How the command line is called for this index.
    """
    findings = [_versions(), _snapshot(), _kernels(), *_index(zoo, call)]
    return [*findings, _hub()]


def _versions() -> Finding:
    versions: dict[str, str] = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            return Finding("packages", "problem", f"{name} is not installed; pip install {name}")
    return Finding("packages", "ok", ", ".join(f"{name} {version}" for name, version in versions.items()))


def _snapshot() -> Finding:
    provenance = read_provenance()
    if provenance is None:
        return Finding("snapshot", "note", "none ships with this installation; zoo index refresh builds the index")
    text = f"made for timm {provenance['timm']}, {counted(provenance['architectures'], 'architecture')}"
    if snapshot_fits(provenance):
        return Finding("snapshot", "ok", text)
    return Finding("snapshot", "note", f"{text}; another timm is installed, zoo index refresh builds the index")


def _kernels() -> Finding:
    from transfer.alignment._machine_code import cached_file

    if file := cached_file():
        return Finding("kernels", "ok", f"compiled kernels are kept in '{file.parent}'")
    return Finding(
        "kernels",
        "note",
        "compiled kernels cannot be cached, every process compiles them again (seconds); "
        "set NUMBA_CACHE_DIR to a folder that can be written",
    )


def _index(zoo: Zoo, call: str) -> list[Finding]:
    name = zoo.store.name
    try:
        if not zoo.store.exists():
            return [
                Finding("index", "note", f"none at '{name}' yet; it is made on first use, or by: zoo index refresh")
            ]
        status: dict[str, Any] = zoo.status()
        wrong = zoo.verify()
    except ZooError as error:
        return [Finding("index", "problem", str(error))]
    findings = [
        Finding(
            "index",
            "ok",
            f"'{name}': {counted(status['architectures'], 'architecture')}, {counted(status['entries'], 'entry')}",
        )
    ]
    findings += [Finding("index", "problem", text) for text in wrong]
    installed = metadata.version("timm")
    for row in status["catalogues"]:
        if row["catalogue"] == "timm" and row["catalogue_version"] != installed:
            were = "was" if row["architectures"] == 1 else "were"
            findings.append(
                Finding(
                    "index",
                    "problem",
                    f"{counted(row['architectures'], 'architecture')} {were} read from "
                    f"timm {row['catalogue_version']}, and timm {installed} is installed; run: zoo index refresh",
                )
            )
    if status["last_run"] and status["last_run"]["status"] in ("lost", "interrupted", "failed"):
        findings.append(Finding("index", "note", "the last refresh was not finished; run: zoo index refresh"))
    if status["failed"]:
        findings.append(
            Finding(
                "index",
                "note",
                f"{counted(len(status['failed']), 'architecture')} could not be standardized; "
                "see: zoo index status",
            )
        )
    findings += [Finding("index", "problem", text) for text in find_repairable(zoo.store)]
    findings += [Finding("weights", "note", told) for told in changes_in(zoo.view().entries.all, call)]
    if not zoo.store.is_writable():
        findings.append(Finding("index", "note", f"'{name}' cannot be written: questions work, refresh does not"))
    return findings


def _hub() -> Finding:
    from zoo_index.hub.availability import hub_cache

    cache: Path = hub_cache()
    n = sum(1 for _ in cache.glob("models--*")) if os.path.isdir(cache) else 0
    offline = ", HF_HUB_OFFLINE is set" if os.environ.get("HF_HUB_OFFLINE") else ""
    return Finding("hub cache", "ok", f"'{cache}': {counted(n, 'model')}{offline}")
