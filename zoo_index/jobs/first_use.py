"""The first use of an index: it starts from the shipped snapshot and the weights that are on this machine.

Readers see nothing of it before all is there, so that a process that is killed, or several that come at the same
time, leave no half of it: who comes later waits, or goes on.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from zoo_index.database import queries
from zoo_index.engines import open_engine
from zoo_index.errors import LeaseHeldError
from zoo_index.foundation.progress import step
from zoo_index.index.snapshot import fill_from_snapshot, snapshot_fits
from zoo_index.jobs.refresh import refresh

if TYPE_CHECKING:
    from zoo_index.database.store import Store

__all__ = ["start_index"]

_POLL_SECONDS = 0.1

_MOST_SECONDS = 120.0
"""How long one process waits for another one that fills the index."""


def start_index(store: Store) -> bool:
    """Fill an index that is not filled yet, if the shipped snapshot fits the installed timm.

    Returns
    -------
    bool
        Whether the index is filled now; not if a refresh that was interrupted has begun to: that is to go on.

    Raises
    ------
    LeaseHeldError
        If another process has been filling it for minutes: a refresh of all.
    IndexFileError
        If the snapshot is damaged or the database cannot be written.
    """
    if not snapshot_fits():
        return False
    step("first use: making the index from the one that ships with zoo")
    deadline = time.monotonic() + _MOST_SECONDS
    while True:
        is_filled = fill_from_snapshot(store)
        with store.reading() as connection:
            if queries.generation(connection):
                return True
        if not is_filled:
            return False
        step("first use: looking for weights on this machine")
        try:  # headers of a few files: no code of a network is run
            refresh(store, engine=open_engine("inline"), seconds=None, catalogues=["pypi"])
        except LeaseHeldError:  # another process is about it
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
