"""Refreshes of the made catalogue: in this process, in a copy of it, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from forked_cli import run_cli
from indexes import address

from zoo_index.engines import open_engine
from zoo_index.jobs.refresh import RefreshReport, refresh
from zoo_index.zoo.zoo import Zoo

only_in_a_file = pytest.mark.parametrize("store", ["sqlite"], indirect=True)
"""For tests of what the kind of database makes no difference to."""


def refreshed(zoo: Zoo, engine: str = "inline", seconds: float | None = None, **options: Any) -> RefreshReport:
    return refresh(
        zoo.store, engine=open_engine(engine, **options), seconds=seconds, catalogues=["made"], progress=None
    )


def command(zoo: Zoo, *arguments: str) -> list[str]:
    """Run the command line on the made catalogue, in a process of its own that heeds interrupts."""
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from zoo_index.catalogues import catalogue\n"
        "catalogue.CATALOGUES['made'] = 'made_catalogue'\n"
        "from zoo_index.jobs import refresh\n"
        "refresh.refresh.__kwdefaults__['catalogues'] = ('made',)\n"
        "from zoo_index.commands.main import main; main()"
    )
    return [sys.executable, "-c", code, "--db", address(zoo.store), *arguments]


def forked(zoo: Zoo, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """The same in a copy of this process."""

    def read_the_made_catalogue() -> None:
        assert refresh.__kwdefaults__ is not None
        refresh.__kwdefaults__["catalogues"] = ("made",)

    return run_cli("--db", address(zoo.store), *arguments, before=read_the_made_catalogue)


REFRESH = ("index", "refresh", "--no-snapshot", "-j", "2", "--json")
