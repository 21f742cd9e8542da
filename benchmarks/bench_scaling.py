"""What more machines buy: the same index in a file and on a server, the same networks by local workers and by Dask.

An index of generated architectures (the argument, 100,000 by default) is filled, embedded and published in both
databases, asked, and then changed by a hundredth, as at night. The server runs on this machine, and waits for the
disk as servers do. Networks of timm are standardized by one and by two local workers, and by a Dask cluster of two
processes.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _common import save
from bench_growing import ask, described, fill, settle

from zoo_index.catalogues.catalogue import CatalogueEntry, open_catalogue
from zoo_index.database import descriptions
from zoo_index.database.publishing import Listing
from zoo_index.engines import Engine, open_engine
from zoo_index.jobs.workers import standardize_entries
from zoo_index.zoo.zoo import Zoo

sys.path.append(str(Path(__file__).parents[1] / "tests" / "support"))
from postgres import running_server

SIZE = 100_000
CHANGED = 0.01
N_NETWORKS = 96


def change(zoo: Zoo, size: int) -> dict[str, float]:
    """Let a hundredth of the architectures have another structure, as one night may bring."""
    n = int(size * CHANGED)
    fresh = [d for batch in described(size + n) for d in batch][size:]
    renamed = [type(d)(f"made{i}", *(getattr(d, name) for name in _REST)) for i, d in enumerate(fresh)]
    listing = Listing("made", [CatalogueEntry(d.name, d.name, family="made") for d in renamed], is_whole=False)
    started = time.perf_counter()
    with zoo.store.writing() as connection:
        n_changed = descriptions.prepare(connection, "made", "2", renamed)
    prepare_s = time.perf_counter() - started
    return {"changed": n_changed, "prepare_s": prepare_s, **settle(zoo, listing)}


_REST = ("n_params", "dpiat", "paper", "facts", "wiring")


def measured(place: str, size: int) -> dict[str, Any]:
    zoo = Zoo(place)
    found: dict[str, Any] = fill(zoo, size)
    started = time.perf_counter()
    assert len(zoo.view().search.vector_index) == size
    found["vector_file_s"] = time.perf_counter() - started
    found |= ask(zoo, size)
    found["night"] = change(zoo, size)
    found["questions_after"] = ask(zoo, size)
    if hasattr(zoo.store, "path"):
        found["bytes"] = zoo.store.path.stat().st_size
    else:
        with zoo.store.reading() as connection:
            found["bytes"] = connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar()
    zoo.store.close()
    return found


def stores(size: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        found = {"sqlite": measured(str(Path(folder) / "zoo.db"), size)}
    with running_server() as server:
        server.execute("CREATE DATABASE zoo")
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):  # as a server runs
            server.execute(f"ALTER SYSTEM SET {setting} = on")
        server.execute("SELECT pg_reload_conf()")
        found["postgresql"] = measured(server.url("zoo"), size)
        found["postgresql"]["version"] = server.execute("SHOW server_version")[0][0]
    return found


def timed(engine: Engine) -> float:
    """Architectures a second, once the workers are there."""
    catalogue = open_catalogue("timm")
    entries = {entry.architecture: entry for entry in catalogue.entries()}
    chosen = list(entries.values())[:: len(entries) // N_NETWORKS][:N_NETWORKS]
    with engine:
        results = standardize_entries(catalogue, chosen, engine, 600.0)
        next(results)
        started = time.perf_counter()
        n = sum(not isinstance(result, str) for _, result in results)
        return n / (time.perf_counter() - started)


def engines() -> dict[str, float]:
    from distributed import LocalCluster

    rates = {f"local, {n}": timed(open_engine("local", processes=n)) for n in (1, 2)}
    quiet: dict[str, Any] = {"dashboard_address": ":0", "silence_logs": logging.CRITICAL}
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, **quiet) as cluster:
        rates["dask, 2"] = timed(open_engine("dask", scheduler=cluster.scheduler_address))
    return rates


def main(size: int = SIZE) -> None:
    figures = {"architectures": size, "stores": stores(size), "architectures_per_s": engines()}
    save("scaling", figures, packages=("torch", "timm", "numpy", "SQLAlchemy", "psycopg", "distributed"))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
