"""A Dask cluster, and every engine."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator

import pytest
from engine_runs import PATH, gone, workers

from zoo_index.engines import Engine, open_engine


@pytest.fixture(scope="package")
def cluster() -> Iterator[str]:
    """The address of a Dask cluster of two worker processes."""
    import dask
    from distributed import LocalCluster

    path, os.environ["PYTHONPATH"] = os.environ.get("PYTHONPATH"), PATH["PYTHONPATH"]
    quiet = {"dashboard_address": ":0", "silence_logs": logging.CRITICAL}
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),  # a Dask worker's death is felt at once
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, **quiet) as found,
    ):
        yield found.scheduler_address
    os.environ.pop("PYTHONPATH") if path is None else os.environ.__setitem__("PYTHONPATH", path)


@pytest.fixture(params=["local-1", "local-2", "dask"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    name, _, processes = request.param.partition("-")
    scheduler = None if name == "local" else request.getfixturevalue("cluster")
    with open_engine(name, int(processes) if processes else None, scheduler) as found:
        yield found
    assert gone(workers(), 5) == []
