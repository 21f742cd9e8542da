"""Runs of engines: the program that starts them, their worker processes, and what became of their items."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psutil
from engine_items import Item

from zoo_index.engines import Done, Lost

ROOT = Path(__file__).parents[2]

PATH = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")])}

DOUBLES = [("double", number) for number in range(29)]


def workers(parent: int | None = None) -> list[psutil.Process]:
    """Worker processes below a process, by default this one, whoever started them."""
    found = []
    for process in psutil.Process(parent).children(recursive=True):
        try:
            if "zoo_index.engines.worker" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def gone(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Return those that are still there after a while."""
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


def reason(found: dict[Item, Done[Any] | Lost], item: Item) -> str:
    lost = found[item]
    assert isinstance(lost, Lost)
    return lost.reason


def all_done(found: dict[Item, Done[Any] | Lost]) -> bool:
    return all(found[item] == Done(2 * item[1]) for item in DOUBLES)
