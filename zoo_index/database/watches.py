"""Rows of watched targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from zoo_index.database.clock import now
from zoo_index.database.schema import WATCH

__all__ = ["drop_watch", "note_best", "put_watch", "watch_rows"]


def watch_rows(connection: Connection) -> list[dict[str, Any]]:
    """Return what is watched, by name."""
    return [dict(row) for row in connection.execute(select(WATCH).order_by(WATCH.c.name)).mappings()]


def put_watch(connection: Connection, row: Mapping[str, Any]) -> bool:
    """Keep a target; return whether its name was free."""
    if connection.execute(select(WATCH.c.name).where(WATCH.c.name == row["name"])).first():
        return False
    connection.execute(insert(WATCH).values(**row, added_utc=now()))
    return True


def note_best(connection: Connection, name: str, **values: Any) -> None:
    """Note what was found for a target."""
    connection.execute(update(WATCH).where(WATCH.c.name == name).values(**values))


def drop_watch(connection: Connection, name: str) -> bool:
    """Forget a target; return whether there was one."""
    return bool(connection.execute(delete(WATCH).where(WATCH.c.name == name)).rowcount)
