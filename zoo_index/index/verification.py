"""Check whether the index is sound."""

from __future__ import annotations

import os

from zoo_index.catalogues.description import FEATURES
from zoo_index.database import loading, queries
from zoo_index.database.store import Store
from zoo_index.foundation.counting import counted
from zoo_index.foundation.progress import advance
from zoo_index.index import vectors

__all__ = ["verify"]


def verify(store: Store) -> list[str]:
    """Check the database, every fingerprint, the age of what is in it, and the vector file.

    Returns
    -------
    list of str
        What is wrong, and what to do; empty if nothing is.
    """
    with store.reading() as connection:
        found = store.check(connection)
        generation = queries.generation(connection)
        kept = queries.fingerprints(connection, generation)
        for i, (id_, name, fingerprint) in enumerate(kept):
            advance("checking fingerprints", i, len(kept))
            try:
                architecture = loading.load_architecture(connection, id_, "dpiat")
            except (KeyError, ValueError):
                architecture = None
            if architecture is None or architecture.fingerprint != fingerprint:
                found.append(f"architecture {name!r} differs from its fingerprint")
        found += _outdated(queries.outdated(connection, generation, FEATURES))
        stamp = vectors.Stamp(queries.identity(connection), generation)
    if vectors.is_altered(store.vector_path, stamp):
        found.append(f"vector file '{store.vector_path}' was altered; run: zoo index refresh")
    return found


def _outdated(rows: list[dict[str, str | None]]) -> list[str]:
    gone = [row for row in rows if row["catalogue"] == "local" and not os.path.isfile(row["path"] or "")]
    found = [
        f"local entry {row['name']!r} is of an older standardization, and its file '{row['path']}' is gone; "
        f"put it back and run: zoo index refresh, or: zoo remove {row['name']}"
        for row in gone
    ]
    if len(rows) > len(gone):
        n = len(rows) - len(gone)
        are = "is" if n == 1 else "are"
        found.append(f"{counted(n, 'architecture')} {are} of an older standardization; run: zoo index refresh")
    return found
