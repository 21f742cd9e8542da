"""Entries of weights files that are on this machine: the same file again, or another one of the same content."""

from __future__ import annotations

import filecmp
from pathlib import Path

from sqlalchemy import select

from zoo_index.database import queries
from zoo_index.database.schema import ENTRY, standing
from zoo_index.database.store import Connection, Store
from zoo_index.hub.availability import parts_of

__all__ = ["alike", "entries_at", "size_of"]

_CATALOGUES = ("local", "folder")


def entries_at(connection: Connection, catalogue: str, path: Path) -> dict[str, tuple[str | None, str]]:
    """Return licence and family of the entries of a catalogue that are of a file, by name, the oldest first."""
    number = queries.generation(connection)
    query = select(ENTRY.c.name, ENTRY.c.license, ENTRY.c.family).where(
        ENTRY.c.catalogue == catalogue, ENTRY.c.path == str(path), standing(ENTRY, number)
    )
    return {row.name: (row.license, row.family) for row in connection.execute(query.order_by(ENTRY.c.id))}


def alike(store: Store, path: Path) -> list[str]:
    """Name the entries whose file has the same content, or is the same one in a folder that was added.

    Only files of the same size are read, up to the first difference.
    """
    size = size_of(path)
    if size is None:
        return []
    with store.reading() as connection:
        number = queries.generation(connection)
        query = select(ENTRY.c.name, ENTRY.c.catalogue, ENTRY.c.path).where(
            ENTRY.c.catalogue.in_(_CATALOGUES), ENTRY.c.n_bytes == size, standing(ENTRY, number)
        )
        rows = connection.execute(query.order_by(ENTRY.c.name)).all()
    others = [row for row in rows if (row.catalogue, row.path) != ("local", str(path))]
    return [row.name for row in others if row.path and _are_equal(path, Path(row.path))]


def size_of(path: Path) -> int | None:
    """Count the bytes of a weights file, of several with an index all; None of a folder."""
    if not path.is_file():
        return None
    return sum(file.stat().st_size for file in (path, *parts_of(path)))


def _are_equal(one: Path, other: Path) -> bool:
    try:
        pairs = zip([one, *parts_of(one)], [other, *parts_of(other)], strict=True)
        return all(filecmp.cmp(a, b, shallow=False) for a, b in pairs)
    except (OSError, ValueError):  # one is gone, or has other parts
        return False
