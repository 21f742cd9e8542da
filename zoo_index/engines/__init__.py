"""Run one function over many items in worker processes, here or on a cluster, by the same laws (see `engine`)."""

from __future__ import annotations

import os

from transfer.errors import InputError
from zoo_index.engines.engine import Done, Engine, Lost

__all__ = ["ENGINES", "Done", "Engine", "Lost", "default_processes", "open_engine"]

ENGINES = ("local", "dask", "inline")


def default_processes() -> int:
    """One worker per core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def open_engine(name: str = "local", processes: int | None = None, scheduler: str | None = None) -> Engine:
    """Open an engine by name.

    Parameters
    ----------
    name : {'local', 'dask', 'inline'}
        Worker processes on this machine, those of a Dask cluster, or none: this process itself.
    processes : int, optional
        Workers of ``local``; by default one per core. A cluster has as many as it has.
    scheduler : str, optional
        Address of the scheduler of ``dask``, such as ``tcp://10.0.0.5:8786``.

    Returns
    -------
    Engine
        To be used in a ``with`` statement.

    Raises
    ------
    InputError
        If the name, or what goes with it, is not known.
    EngineError
        If the cluster cannot be reached.
    """
    if processes is not None and processes < 1:
        raise InputError(f"expected at least one process, got {processes}")
    if (scheduler is not None) != (name == "dask"):
        raise InputError(
            f"expected the address of a scheduler with the engine dask and only there, got engine {name!r} and "
            f"scheduler {scheduler!r}; give --engine dask --scheduler ADDRESS"
        )
    if name == "local":
        from zoo_index.engines.local import LocalEngine

        return LocalEngine(processes or default_processes())
    if name == "inline":
        from zoo_index.engines.inline import InlineEngine

        return InlineEngine()
    if name == "dask":
        if processes is not None:
            raise InputError(
                "expected no number of processes with the engine dask: a cluster has what it has; leave -j out"
            )
        from zoo_index.engines.dask_cluster import DaskEngine

        assert scheduler is not None
        return DaskEngine(scheduler)
    raise InputError(f"expected one of the engines {', '.join(ENGINES)}, got {name!r}")
