"""Check whether the index is sound."""

from __future__ import annotations

from pathlib import Path

from zoo_index.database import loading, queries
from zoo_index.database.store import Store
from zoo_index.index import vectors

__all__ = ["verify"]


def verify(store: Store, vector_path: Path) -> list[str]:
    """Check the database, every fingerprint and the vector file.

    Parameters
    ----------
    store : Store
    vector_path : Path

    Returns
    -------
    list of str
        What is wrong; empty if nothing is.
    """
    with store.reading() as connection:
        found = queries.integrity(connection)
        for id_, name, fingerprint in queries.fingerprints(connection):
            try:
                architecture = loading.load_architecture(connection, id_, "dpiat")
            except (KeyError, ValueError):
                architecture = None
            if architecture is None or architecture.fingerprint != fingerprint:
                found.append(f"architecture {name!r} differs from its fingerprint")
        generation, made_of, digest = queries.state(connection)
    if made_of == generation and vector_path.exists() and vectors.load(vector_path, digest) is None:
        found.append(f"vector file '{vector_path}' was altered; run: zoo index refresh")
    return found
