"""Standardize many networks in worker processes.

A worker returns data or the text of an error, so that whatever a network's code raises ends as a note about
that network; only the death of a process reaches the caller.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait

from zoo_index.catalogues.catalogue import Catalogue, CatalogueEntry, open_catalogue
from zoo_index.catalogues.description import Description
from zoo_index.errors import CatalogueError
from zoo_index.garbage import without_collections

__all__ = ["default_processes", "describe_safely", "standardize_entries"]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


def default_processes() -> int:
    """One worker per core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def standardize_entries(
    catalogue: Catalogue, entries: Sequence[CatalogueEntry], processes: int
) -> Iterator[tuple[CatalogueEntry, Description | str]]:
    """Describe entries in worker processes, in any order; an error comes back as its text.

    Raises
    ------
    CatalogueError
        If a worker process dies; what was returned until then stands.
    """
    if processes <= 1 or len(entries) <= processes:
        for entry in entries:
            yield entry, describe_safely(catalogue.name, entry)
        return
    from loky import ProcessPoolExecutor
    from loky.process_executor import BrokenProcessPool

    env = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, "1")}
    pool = ProcessPoolExecutor(processes, env=env)
    waiting = iter(entries)
    running: dict[Future[Description | str], CatalogueEntry] = {}
    try:
        while True:
            for entry in waiting:
                running[pool.submit(describe_safely, catalogue.name, entry)] = entry
                if len(running) >= 4 * processes:
                    break
            if not running:
                break
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                result = future.result()  # raises while the entry still counts as running
                yield running.pop(future), result
    except BrokenProcessPool as error:
        names = ", ".join(entry.architecture for entry in running.values())
        raise CatalogueError(
            f"expected the worker processes to live, one died while building one of: {names}; "
            "what was finished is kept; run it again, with --processes 1 to see which one it is"
        ) from error
    finally:
        pool.shutdown(wait=False, kill_workers=True)


@without_collections()
def describe_safely(catalogue_name: str, entry: CatalogueEntry) -> Description | str:
    """Describe one entry; any exception of its code comes back as text."""
    try:
        return open_catalogue(catalogue_name).describe(entry)
    except Exception as error:  # code of whatever network: it may raise anything
        return f"{type(error).__name__}: {error}"
