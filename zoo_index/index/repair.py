"""Put right what can be put right without a refresh."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from zoo_index.database import queries, runs
from zoo_index.database.clearing import drop_orphans, orphans
from zoo_index.foundation.counting import counted
from zoo_index.index import vectors

if TYPE_CHECKING:
    from zoo_index.database.store import Store

__all__ = ["find_repairable", "repair"]


def find_repairable(store: Store) -> list[str]:
    """Return what `repair` would put right in the database."""
    with store.reading() as connection:
        n = orphans(connection)
    return [f"vectors or entries of architectures that are gone: {n:,}; run: zoo doctor --repair"] if n else []


def repair(store: Store) -> list[str]:
    """Delete vectors whose architecture is gone, an altered vector file, and note runs whose process ended.

    Returns
    -------
    list of str
        What was done.
    """
    done = []
    with store.writing() as connection:
        n = drop_orphans(connection)
        if n:
            done.append(
                f"deleted vectors and entries of architectures that are gone: {n:,}; run: zoo index refresh"
            )
        n = runs.note_lost(connection)
        if n:
            done.append(f"noted {counted(n, 'unfinished run')} as lost")
        stamp = vectors.Stamp(queries.identity(connection), queries.generation(connection))
    if vectors.is_altered(store.vector_path, stamp):
        for path in (store.vector_path, vectors.stamp_path(store.vector_path)):
            with suppress(OSError):
                path.unlink()
        done.append(f"deleted the altered vector file '{store.vector_path}'; the next question makes it anew")
    return done
