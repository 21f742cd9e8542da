"""What a worker of a Dask cluster does with an item: it has a contained process run it.

Each item runs in a process of its own kind (see `child`), which the Dask worker ends when the time is up or the
client is gone; so no item takes a Dask worker, and what waits on it, down with it.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import Any

from zoo_index.engines.child import Child, GoneError, started

__all__ = ["retire", "run_contained"]

_IDLE_SECONDS = 5.0
"""How long a contained process outlives its last item where nobody tells it that the run is over."""

_idle: dict[str, list[Child]] = {}
"""Contained processes without work, by run and job."""

_over: set[str] = set()
"""Runs whose client is done."""

_lock = threading.Lock()


def run_contained(run: str, job: bytes, payload: bytes, seconds: float | None, alone: bool) -> Any:
    """Run one item in a contained process of this Dask worker.

    Raises
    ------
    EngineError
        If no such process can be started.
    """
    key = f"{run}-{hashlib.sha256(job).hexdigest()}"
    cancelled = _cancellation()
    while True:
        _drop(lambda child, _: not child.alive)  # of runs whose client has gone
        with _lock:
            standing = _idle.get(key)
            child = standing.pop() if standing and not alone else None
        if child is None:
            child = started(lambda: Child(job, _IDLE_SECONDS))
        try:
            outcome = child.run(payload, seconds, cancelled)
        except GoneError:  # it had been idle for too long
            child.close()
            continue
        with _lock:
            kept = child.alive and not alone and run not in _over
            if kept:
                _idle.setdefault(key, []).append(child)
        if not kept:
            child.close()
        return outcome


def retire(run: str) -> None:
    """End the idle contained processes of a run that is over."""
    with _lock:
        _over.add(run)
    _drop(lambda _, key: key.startswith(run))


def _drop(unwanted: Callable[[Child, str], bool]) -> None:
    with _lock:
        dropped = [child for key, children in _idle.items() for child in children if unwanted(child, key)]
        for key, children in list(_idle.items()):
            _idle[key] = [child for child in children if child not in dropped]
            if not _idle[key]:
                del _idle[key]
    for child in dropped:
        child.close()


def _cancellation() -> Callable[[], bool]:
    """Return what tells whether nobody waits for the running task any more."""
    from distributed import get_worker
    from distributed.worker import thread_state

    tasks, key = get_worker().state.tasks, thread_state.key

    def cancelled() -> bool:
        task = tasks.get(key)
        return task is None or task.state == "cancelled"

    return cancelled
