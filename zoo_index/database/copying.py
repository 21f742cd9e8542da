"""Copy the content of one database into another one, whatever engines they run on."""

from __future__ import annotations

from sqlalchemy import Connection, delete, func, insert, select, text

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
)
from zoo_index.foundation.progress import advance

__all__ = ["copy_content"]

_CONTENT = (LAYER, BLOCK, ARCHITECTURE, ENTRY, BASIS, EMBEDDING, ALIAS, METRIC, GENERATION)
"""Tables of content, those that others refer to first."""

_PART = 4_000
"""Rows that are copied at a time."""


def copy_content(source: Connection, target: Connection) -> None:
    """Replace the content of a database by that of another one; both are of the present schema.

    Runs, leases and watched targets stay. The generation that readers see is not set.
    """
    for table in (*reversed(_CONTENT), FAILURE):
        target.execute(delete(table))
    n_rows = sum(source.execute(select(func.count()).select_from(table)).scalar_one() for table in _CONTENT)
    n_done = 0
    for table in _CONTENT:
        for part in source.execute(select(table)).mappings().partitions(_PART):
            target.execute(insert(table), [dict(row) for row in part])
            n_done += len(part)
            advance("copying the index", n_done, n_rows)
        if target.dialect.name != "sqlite" and "id" in table.c:
            _go_on_counting(target, table.name)


def _go_on_counting(target: Connection, table: str) -> None:
    """Let new rows get ids after those that were copied."""
    target.execute(
        text(
            f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), coalesce(max(id), 0) + 1, false) FROM {table}"
        )
    )
