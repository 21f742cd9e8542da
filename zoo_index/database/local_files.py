"""Entries of weights files that are on this machine, by where they are and how large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, select

from zoo_index.database.queries import generation
from zoo_index.database.schema import ENTRY, standing

__all__ = ["entries_at", "entries_of_size"]


def entries_at(connection: Connection, catalogue: str, path: str) -> list[dict[str, Any]]:
    """Return name, licence and family of the entries of a catalogue that are of a file, the oldest first."""
    query = select(ENTRY.c.name, ENTRY.c.license, ENTRY.c.family).where(
        ENTRY.c.catalogue == catalogue, ENTRY.c.path == path, standing(ENTRY, generation(connection))
    )
    return [dict(row._mapping) for row in connection.execute(query.order_by(ENTRY.c.id))]


def entries_of_size(connection: Connection, catalogues: Sequence[str], n_bytes: int) -> list[dict[str, Any]]:
    """Return name, catalogue and path of the entries of some catalogues whose weights are of a size, by name."""
    query = select(ENTRY.c.name, ENTRY.c.catalogue, ENTRY.c.path).where(
        ENTRY.c.catalogue.in_(catalogues),
        ENTRY.c.n_bytes == n_bytes,
        ENTRY.c.path.is_not(None),
        standing(ENTRY, generation(connection)),
    )
    return [dict(row._mapping) for row in connection.execute(query.order_by(ENTRY.c.name))]
