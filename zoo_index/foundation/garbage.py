"""Let the garbage collector wait while many small objects that are all kept are made."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["without_collections"]


@contextmanager
def without_collections() -> Iterator[None]:
    """Let the garbage collector wait; looking for cycles costs plans a fifth, standardization half of its time.

    What was made meanwhile counts as old afterwards, so that it is not looked through at once.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():
            gc.freeze()
            gc.unfreeze()
        if was_enabled:
            gc.enable()
