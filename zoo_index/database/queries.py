"""Questions to the index that people ask; what the matcher needs is in `loading`, runs are in `runs`.

Those about content are about one generation (see `schema`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select

from zoo_index.catalogues.catalogue import RANKING_DATASET, CatalogueEntry
from zoo_index.database.packing import rows_among
from zoo_index.database.schema import (
    ALIAS,
    ARCHITECTURE,
    BASIS,
    BLOCK,
    EMBEDDING,
    ENTRY,
    FAILURE,
    GENERATION,
    LAYER,
    METRIC,
    STATE,
    standing,
)

__all__ = [
    "aliases",
    "architecture_marks",
    "by_catalogue",
    "catalogue_entries",
    "counts",
    "entry_marks",
    "entry_names",
    "entry_rows",
    "failures",
    "fingerprints",
    "generation",
    "generation_row",
    "identity",
    "metric_datasets",
    "n_architectures",
    "names_like",
    "oldest_whole_generation",
    "outdated",
    "recall",
]


def generation(connection: Connection) -> int:
    """Return the generation that readers see; 0 where the index is not filled yet."""
    return int(connection.execute(select(STATE.c.generation)).scalar_one())


def identity(connection: Connection) -> str:
    """Return the random name that tells this index from every other one."""
    return str(connection.execute(select(STATE.c.identity)).scalar_one())


def generation_row(connection: Connection, number: int) -> dict[str, Any] | None:
    """Return when and by which run a generation was made, and how much stands in it."""
    row = connection.execute(select(GENERATION).where(GENERATION.c.number == number)).mappings().first()
    return dict(row) if row else None


def n_architectures(connection: Connection, number: int) -> int:
    """Return how many architectures stand in a generation, as was counted when it was made."""
    found = connection.execute(select(GENERATION.c.n_architectures).where(GENERATION.c.number == number)).scalar()
    return int(found or 0)


def failures(connection: Connection) -> list[dict[str, Any]]:
    """Return the architectures that could not be standardized."""
    rows = connection.execute(select(FAILURE).order_by(FAILURE.c.catalogue, FAILURE.c.name))
    return [{key: value for key, value in row.items() if key != "id"} for row in rows.mappings()]


def counts(connection: Connection, number: int) -> dict[str, int]:
    """Return the number of rows of the tables that people ask about; `retired` ones stand no longer."""

    def count(query: Any) -> int:
        return int(connection.execute(query).scalar_one())

    def rows(table: Any) -> Any:
        return select(func.count()).select_from(table)

    embedded = (
        rows(EMBEDDING)
        .where(EMBEDDING.c.basis_id.in_(select(BASIS.c.id).where(standing(BASIS, number))))
        .where(EMBEDDING.c.architecture_id.in_(select(ARCHITECTURE.c.id).where(standing(ARCHITECTURE, number))))
    )
    return {
        "architectures": count(rows(ARCHITECTURE).where(standing(ARCHITECTURE, number))),
        "entries": count(rows(ENTRY).where(standing(ENTRY, number))),
        "blocks": count(rows(BLOCK)),
        "layers": count(rows(LAYER)),
        "embedded": count(embedded),
        "failures": count(rows(FAILURE)),
        "retired": count(rows(ARCHITECTURE).where(ARCHITECTURE.c.died <= number)),
        "prepared": count(rows(ARCHITECTURE).where(ARCHITECTURE.c.born.is_(None))),
    }


def recall(connection: Connection, number: int) -> float | None:
    """Return the share of the true ten best sources that a shortlist holds; None where it was not estimated."""
    found = connection.execute(select(BASIS.c.recall).where(standing(BASIS, number))).scalar()
    return None if found is None else float(found)


def by_catalogue(connection: Connection, number: int) -> list[dict[str, Any]]:
    """Return version and number of architectures of each catalogue."""
    rows = connection.execute(
        select(
            ARCHITECTURE.c.catalogue,
            ARCHITECTURE.c.catalogue_version,
            func.count().label("architectures"),
        )
        .where(standing(ARCHITECTURE, number))
        .group_by(ARCHITECTURE.c.catalogue, ARCHITECTURE.c.catalogue_version)
        .order_by(ARCHITECTURE.c.catalogue, ARCHITECTURE.c.catalogue_version)
    )
    return [dict(row) for row in rows.mappings()]


def outdated(connection: Connection, number: int, features: int) -> list[dict[str, Any]]:
    """Return catalogue, name and file (if any) of the architectures that another standardization made."""
    rows = connection.execute(
        select(ARCHITECTURE.c.catalogue, ARCHITECTURE.c.name, func.min(ENTRY.c.path).label("path"))
        .join(ENTRY, ENTRY.c.architecture_id == ARCHITECTURE.c.id)
        .where(standing(ARCHITECTURE, number), ARCHITECTURE.c.features != features)
        .group_by(ARCHITECTURE.c.id, ARCHITECTURE.c.catalogue, ARCHITECTURE.c.name)
        .order_by(ARCHITECTURE.c.id)
    )
    return [dict(row) for row in rows.mappings()]


def entry_rows(
    connection: Connection,
    number: int,
    *,
    architectures: Sequence[int] | None = None,
    name: str | None = None,
) -> list[dict[str, Any]]:
    """Return entries with their architecture's name, size and fingerprint, in catalogue order.

    With them goes the published accuracy, `top1` and `top5` in percent, where it was imported.

    Parameters
    ----------
    connection : Connection
    number : int
        Generation.
    architectures : sequence of int, optional
        Only those of these architectures.
    name : str, optional
        Only those that have this name, or whose architecture has it.
    """
    columns = [column for column in ENTRY.c if column.name not in ("born", "died")]
    query = (
        select(
            *columns,
            ARCHITECTURE.c.name.label("architecture"),
            ARCHITECTURE.c.n_params,
            ARCHITECTURE.c.fingerprint,
            METRIC.c.top1,
            METRIC.c.top5,
        )
        .join(ARCHITECTURE, ENTRY.c.architecture_id == ARCHITECTURE.c.id)
        .outerjoin(METRIC, and_(METRIC.c.name == ENTRY.c.name, METRIC.c.dataset == RANKING_DATASET))
        .where(standing(ENTRY, number))
        .order_by(ENTRY.c.architecture_id, ENTRY.c.position)
    )
    if name is not None:
        named = select(ARCHITECTURE.c.id).where(ARCHITECTURE.c.name == name, standing(ARCHITECTURE, number))
        query = query.where(or_(ENTRY.c.name == name, ENTRY.c.architecture_id.in_(named)))
    if architectures is None:
        rows: Iterator[Any] = iter(connection.execute(query))
    else:
        rows = rows_among(connection, query, ENTRY.c.architecture_id, sorted(architectures))
    return [_checked(dict(row._mapping)) for row in rows]


def _checked(row: dict[str, Any]) -> dict[str, Any]:
    """Return an entry if its values are of the types of their columns, which SQLite does not see to."""
    for name, value in row.items():
        kinds = _KINDS[name]
        if not isinstance(value, kinds):
            raise ValueError(f"{name} of an entry is {value!r:.40}")
    return row


def _kinds_of(column: Any, *, is_joined: bool = False) -> tuple[type, ...]:
    kind = column.type.python_type
    kinds = (int, float) if kind is float else (kind,)
    return (*kinds, type(None)) if column.nullable or is_joined else kinds


_KINDS = {
    **{column.name: _kinds_of(column) for column in ENTRY.c},
    "architecture": _kinds_of(ARCHITECTURE.c.name),
    "n_params": _kinds_of(ARCHITECTURE.c.n_params),
    "fingerprint": _kinds_of(ARCHITECTURE.c.fingerprint),
    "top1": _kinds_of(METRIC.c.top1, is_joined=True),
    "top5": _kinds_of(METRIC.c.top5, is_joined=True),
}
"""Types of the values of an entry."""


def catalogue_entries(
    connection: Connection, number: int, catalogue: str, architecture: str | None = None
) -> list[CatalogueEntry]:
    """Return the standing entries of a catalogue, or of one architecture in it, as the catalogue listed them."""
    names = [field.name for field in fields(CatalogueEntry) if field.name != "architecture"]
    query = (
        select(*(ENTRY.c[name] for name in names), ARCHITECTURE.c.name.label("architecture"))
        .join(ARCHITECTURE, ENTRY.c.architecture_id == ARCHITECTURE.c.id)
        .where(ENTRY.c.catalogue == catalogue, standing(ENTRY, number))
        .order_by(ENTRY.c.architecture_id, ENTRY.c.position)
    )
    if architecture is not None:
        query = query.where(ARCHITECTURE.c.name == architecture)
    return [CatalogueEntry(**row) for row in connection.execute(query).mappings()]


def entry_names(connection: Connection, number: int) -> set[str]:
    """Return the names of all entries."""
    return {row[0] for row in connection.execute(select(ENTRY.c.name).where(standing(ENTRY, number)))}


def architecture_marks(connection: Connection, number: int) -> dict[str, int]:
    """Return the row of every architecture by catalogue and name; another row has other content."""
    rows = connection.execute(
        select(ARCHITECTURE.c.catalogue, ARCHITECTURE.c.name, ARCHITECTURE.c.id).where(
            standing(ARCHITECTURE, number)
        )
    )
    return {f"{row.catalogue}/{row.name}": row.id for row in rows}


def entry_marks(connection: Connection, number: int) -> dict[str, int]:
    """Return the row of every entry by name."""
    rows = connection.execute(select(ENTRY.c.name, ENTRY.c.id).where(standing(ENTRY, number)))
    return {row.name: row.id for row in rows}


def oldest_whole_generation(connection: Connection) -> int:
    """Return the oldest generation of which nothing was deleted."""
    found = connection.execute(select(func.min(GENERATION.c.number))).scalar()
    return 0 if found in (None, 1) else int(found or 0)


def aliases(connection: Connection, name: str) -> list[str]:
    """Return what a name that a catalogue gave up is called now."""
    rows = connection.execute(select(ALIAS.c.target).where(ALIAS.c.name == name).order_by(ALIAS.c.catalogue))
    return [row[0] for row in rows]


def metric_datasets(connection: Connection) -> dict[str, int]:
    """Return how many results there are of each data set."""
    rows = connection.execute(select(METRIC.c.dataset, func.count()).group_by(METRIC.c.dataset))
    return {row[0]: int(row[1]) for row in rows}


def names_like(connection: Connection, number: int, name: str, most: int = 20_000) -> list[str]:
    """Return names of entries and architectures, sorted: all, or where these are many those that begin alike."""
    for length in (0, 3, 2, 1):
        begin = name[:length]
        names: set[str] = set()
        for table in (ENTRY, ARCHITECTURE):
            alike: ColumnElement[bool]
            if connection.dialect.name == "sqlite":  # whose index is in the order of bytes
                alike = table.c.name.between(begin, begin + "\U0010ffff")
            else:
                alike = func.starts_with(table.c.name, begin)
            query = select(table.c.name).where(alike, standing(table, number))
            names.update(row[0] for row in connection.execute(query.limit(most + 1)))
        if names and (length or len(names) <= most):
            return sorted(names)[:most]
    return []


def fingerprints(connection: Connection, number: int) -> list[tuple[int, str, str]]:
    """Return id, name and fingerprint of every architecture."""
    rows = connection.execute(
        select(ARCHITECTURE.c.id, ARCHITECTURE.c.name, ARCHITECTURE.c.fingerprint)
        .where(standing(ARCHITECTURE, number))
        .order_by(ARCHITECTURE.c.id)
    )
    return [(row.id, row.name, row.fingerprint) for row in rows]
