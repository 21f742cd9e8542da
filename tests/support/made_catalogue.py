"""A catalogue that lists what a JSON file says, networks that do harm among them; also for worker processes.

The file, which ``MADE_CATALOGUE`` names: ``{"version": "1", "networks": {"name": sizes or harm}, "aliases": {}}``.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import nets
from indexes import description_of

from zoo_index.catalogues.catalogue import Catalogue, CatalogueEntry, Request
from zoo_index.catalogues.description import Description, PassedOver

HARM = {
    "raise": lambda: 1 / 0,
    "exit": lambda: os._exit(9),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "crash": lambda: ctypes.string_at(0),
    "hang": lambda: time.sleep(3600),
}


def _read() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(os.environ["MADE_CATALOGUE"]).read_text())
    return found


def version() -> str:
    return str(_read()["version"])


def entries(request: Request) -> list[CatalogueEntry]:
    if _read().get("broken"):
        raise ConnectionError("no such catalogue today")
    return [CatalogueEntry(f"{name}.x", name, "x", "made", "mit") for name in _read()["networks"]]


def aliases() -> dict[str, str]:
    found: dict[str, str] = _read().get("aliases", {})
    return found


def describe_entry(entry: CatalogueEntry) -> Description | PassedOver:
    what = _read()["networks"][entry.architecture]
    time.sleep(float(os.environ.get("MADE_SECONDS", "0")))
    if what == "nothing":
        return PassedOver("there is nothing to be had")
    if isinstance(what, str):
        HARM[what]()
    return description_of(entry.architecture, nets.mlp(*what))


CATALOGUE = Catalogue("made", version, entries, describe_entry, aliases)


def write(**content: Any) -> None:
    """Say what the catalogue lists from now on."""
    Path(os.environ["MADE_CATALOGUE"]).write_text(json.dumps({"version": "1", **content}))
