"""Questions to the index that people ask; what the matcher needs is in `loading`."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select, text

from zoo_index.database.schema import (
    ArchitectureRow,
    BlockRow,
    EmbeddingRow,
    EntryRow,
    FailureRow,
    LayerRow,
    RunRow,
    StateRow,
)

__all__ = [
    "by_catalogue",
    "counts",
    "entry_rows",
    "failures",
    "fingerprints",
    "integrity",
    "last_run",
    "standing",
    "state",
]


def standing(connection: Connection, catalogue: str) -> dict[str, tuple[str, int]]:
    """Return version and features of every stored architecture of a catalogue, by name."""
    rows = connection.execute(
        select(ArchitectureRow.name, ArchitectureRow.catalogue_version, ArchitectureRow.features).where(
            ArchitectureRow.catalogue == catalogue
        )
    )
    return {row.name: (row.catalogue_version, row.features) for row in rows}


def failures(connection: Connection) -> list[dict[str, Any]]:
    """Return the architectures that could not be standardized."""
    rows = connection.execute(
        select(FailureRow.catalogue, FailureRow.name, FailureRow.catalogue_version, FailureRow.error)
    )
    return [dict(row) for row in rows.mappings()]


def state(connection: Connection) -> tuple[int, int, str]:
    """Return the generation of the content, and generation and sha256 of the vector file made from it."""
    row = connection.execute(
        select(StateRow.generation, StateRow.vectors_generation, StateRow.vectors_sha256)
    ).one()
    return int(row[0]), int(row[1]), str(row[2])


def counts(connection: Connection) -> dict[str, int]:
    """Return the number of rows of the tables that people ask about."""
    tables = {
        "architectures": ArchitectureRow,
        "entries": EntryRow,
        "blocks": BlockRow,
        "layers": LayerRow,
        "embedded": EmbeddingRow,
        "failures": FailureRow,
    }
    return {
        name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
        for name, table in tables.items()
    }


def by_catalogue(connection: Connection) -> list[dict[str, Any]]:
    """Return version and number of architectures of each catalogue."""
    rows = connection.execute(
        select(
            ArchitectureRow.catalogue,
            ArchitectureRow.catalogue_version,
            func.count().label("architectures"),
        ).group_by(ArchitectureRow.catalogue, ArchitectureRow.catalogue_version)
    )
    return [dict(row) for row in rows.mappings()]


def last_run(connection: Connection) -> dict[str, Any] | None:
    """Return the newest run."""
    row = connection.execute(select(RunRow.__table__).order_by(RunRow.id.desc()).limit(1)).mappings().first()
    return dict(row) if row else None


def entry_rows(connection: Connection) -> list[dict[str, Any]]:
    """Return every entry with its architecture's name, size and fingerprint, in catalogue order."""
    rows = connection.execute(
        select(
            EntryRow.__table__,
            ArchitectureRow.name.label("architecture"),
            ArchitectureRow.n_params,
            ArchitectureRow.fingerprint,
        )
        .join(ArchitectureRow, EntryRow.architecture_id == ArchitectureRow.id)
        .order_by(EntryRow.architecture_id, EntryRow.position)
    )
    return [dict(row) for row in rows.mappings()]


def fingerprints(connection: Connection) -> list[tuple[int, str, str]]:
    """Return id, name and fingerprint of every architecture."""
    rows = connection.execute(select(ArchitectureRow.id, ArchitectureRow.name, ArchitectureRow.fingerprint))
    return [(row.id, row.name, row.fingerprint) for row in rows]


def integrity(connection: Connection) -> list[str]:
    """Run SQLite's own checks; return what they found."""
    found = [str(row[0]) for row in connection.execute(text("PRAGMA quick_check"))]
    broken = [
        f"row {row[1]} of {row[0]} points nowhere" for row in connection.execute(text("PRAGMA foreign_key_check"))
    ]
    return [line for line in found if line != "ok"] + broken
