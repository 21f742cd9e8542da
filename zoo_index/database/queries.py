"""Questions to the index that people ask; what the matcher needs is in `loading`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select, text

from zoo_index.answers import RANKING_DATASET
from zoo_index.database.packing import rows_among
from zoo_index.database.schema import (
    ARCHITECTURE,
    BASIS,
    BLOCK,
    EMBEDDING,
    ENTRY,
    FAILURE,
    LAYER,
    METRIC,
    RUN,
    STATE,
)

__all__ = [
    "by_catalogue",
    "counts",
    "entry_names",
    "entry_rows",
    "failures",
    "fingerprints",
    "integrity",
    "last_run",
    "metric_datasets",
    "n_architectures",
    "names_like",
    "recall",
    "standing",
    "state",
]


def standing(connection: Connection, catalogue: str) -> dict[str, tuple[str, int]]:
    """Return version and features of every stored architecture of a catalogue, by name."""
    rows = connection.execute(
        select(ARCHITECTURE.c.name, ARCHITECTURE.c.catalogue_version, ARCHITECTURE.c.features).where(
            ARCHITECTURE.c.catalogue == catalogue
        )
    )
    return {row.name: (row.catalogue_version, row.features) for row in rows}


def failures(connection: Connection) -> list[dict[str, Any]]:
    """Return the architectures that could not be standardized."""
    rows = connection.execute(
        select(FAILURE.c.catalogue, FAILURE.c.name, FAILURE.c.catalogue_version, FAILURE.c.error)
    )
    return [dict(row) for row in rows.mappings()]


def state(connection: Connection) -> tuple[int, int, str]:
    """Return the generation of the content, and generation and digest of the vector file made from it."""
    row = connection.execute(select(STATE.c.generation, STATE.c.vectors_generation, STATE.c.vectors_sha256)).one()
    return int(row[0]), int(row[1]), str(row[2])


def counts(connection: Connection) -> dict[str, int]:
    """Return the number of rows of the tables that people ask about."""
    tables = {
        "architectures": ARCHITECTURE,
        "entries": ENTRY,
        "blocks": BLOCK,
        "layers": LAYER,
        "embedded": EMBEDDING,
        "failures": FAILURE,
    }
    return {
        name: int(connection.execute(select(func.count()).select_from(table)).scalar_one())
        for name, table in tables.items()
    }


def recall(connection: Connection) -> float | None:
    """Return the share of the true ten best sources that a shortlist holds; None where it was not estimated."""
    found = connection.execute(select(BASIS.c.recall)).scalar()
    return None if found is None else float(found)


def by_catalogue(connection: Connection) -> list[dict[str, Any]]:
    """Return version and number of architectures of each catalogue."""
    rows = connection.execute(
        select(
            ARCHITECTURE.c.catalogue,
            ARCHITECTURE.c.catalogue_version,
            func.count().label("architectures"),
        ).group_by(ARCHITECTURE.c.catalogue, ARCHITECTURE.c.catalogue_version)
    )
    return [dict(row) for row in rows.mappings()]


def last_run(connection: Connection) -> dict[str, Any] | None:
    """Return the newest run of a refresh or an addition; imports of results leave nothing unfinished."""
    query = select(RUN).where(RUN.c.kind != "metrics").order_by(RUN.c.id.desc()).limit(1)
    row = connection.execute(query).mappings().first()
    return dict(row) if row else None


def entry_rows(
    connection: Connection, *, architectures: Sequence[int] | None = None, name: str | None = None
) -> list[dict[str, Any]]:
    """Return entries with their architecture's name, size and fingerprint, in catalogue order.

    With them goes the published accuracy, `top1` and `top5` in percent, where it was imported.

    Parameters
    ----------
    connection : Connection
    architectures : sequence of int, optional
        Only those of these architectures.
    name : str, optional
        Only those that have this name, or whose architecture has it.
    """
    query = (
        select(
            ENTRY,
            ARCHITECTURE.c.name.label("architecture"),
            ARCHITECTURE.c.n_params,
            ARCHITECTURE.c.fingerprint,
            METRIC.c.top1,
            METRIC.c.top5,
        )
        .join(ARCHITECTURE, ENTRY.c.architecture_id == ARCHITECTURE.c.id)
        .outerjoin(METRIC, and_(METRIC.c.name == ENTRY.c.name, METRIC.c.dataset == RANKING_DATASET))
        .order_by(ENTRY.c.architecture_id, ENTRY.c.position)
    )
    if name is not None:
        named = select(ARCHITECTURE.c.id).where(ARCHITECTURE.c.name == name)
        query = query.where(or_(ENTRY.c.name == name, ENTRY.c.architecture_id.in_(named)))
    if architectures is None:
        return [dict(row) for row in connection.execute(query).mappings()]
    rows = rows_among(connection, query, ENTRY.c.architecture_id, sorted(architectures))
    return [dict(row._mapping) for row in rows]


def entry_names(connection: Connection) -> set[str]:
    """Return the names of all entries."""
    return {row[0] for row in connection.execute(select(ENTRY.c.name))}


def metric_datasets(connection: Connection) -> dict[str, int]:
    """Return how many results there are of each data set."""
    rows = connection.execute(select(METRIC.c.dataset, func.count()).group_by(METRIC.c.dataset))
    return {row[0]: int(row[1]) for row in rows}


def names_like(connection: Connection, name: str, most: int = 20_000) -> list[str]:
    """Return names of entries and architectures, sorted: all, or where these are many those that begin alike."""
    for length in (0, 3, 2, 1):
        first, last = name[:length], name[:length] + "\U0010ffff"
        names: set[str] = set()
        for column in (ENTRY.c.name, ARCHITECTURE.c.name):
            query = select(column).where(column.between(first, last)).limit(most + 1)
            names.update(row[0] for row in connection.execute(query))
        if names and (length or len(names) <= most):
            return sorted(names)[:most]
    return []


def n_architectures(connection: Connection) -> int:
    """Count the architectures."""
    return int(connection.execute(select(func.count()).select_from(ARCHITECTURE)).scalar_one())


def fingerprints(connection: Connection) -> list[tuple[int, str, str]]:
    """Return id, name and fingerprint of every architecture."""
    rows = connection.execute(select(ARCHITECTURE.c.id, ARCHITECTURE.c.name, ARCHITECTURE.c.fingerprint))
    return [(row.id, row.name, row.fingerprint) for row in rows]


def integrity(connection: Connection) -> list[str]:
    """Run SQLite's own checks; return what they found."""
    found = [str(row[0]) for row in connection.execute(text("PRAGMA quick_check"))]
    broken = [
        f"row {row[1]} of {row[0]} points nowhere" for row in connection.execute(text("PRAGMA foreign_key_check"))
    ]
    return [line for line in found if line != "ok"] + broken
