"""Where an index is, and opening it: a file of SQLite, or a PostgreSQL server."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from transfer.errors import InputError
from transfer.weights.files import check_path

if TYPE_CHECKING:
    from zoo_index.database.store import Store

__all__ = ["default_place", "is_address", "open_store", "without_password"]

_POSTGRESQL = ("postgresql:", "postgresql+psycopg:", "postgres:")


def default_place() -> str:
    """Where the index lives: ``ZOO_DB``, a path or an address, else a file in the user's data folder."""
    chosen = os.environ.get("ZOO_DB")
    if chosen:
        return chosen
    from platformdirs import user_data_path

    return str(user_data_path("zoo", appauthor=False) / "zoo.db")


def is_address(place: str | os.PathLike[str]) -> bool:
    """Whether an index is on a server."""
    return str(place).startswith(_POSTGRESQL)


def without_password(place: str) -> str:
    """Write where an index is, for people and logs."""
    return re.sub(r"(://[^/@]*?):[^/@]*@", r"\1:***@", place) if is_address(place) else place


def open_store(place: str | os.PathLike[str]) -> Store:
    """Open the store at a path (SQLite) or an address (``postgresql://user@host/name``).

    Raises
    ------
    InputError
        If no file can have that path, or it is no such address.
    """
    if is_address(place):
        from zoo_index.database.postgresql import PostgresqlStore

        return PostgresqlStore(str(place))
    from zoo_index.database.sqlite import SqliteStore

    check_path(place)
    if "://" in str(place):
        kind = str(place).partition("://")[0]
        raise InputError(
            f"expected a file or postgresql://user@host/name for the index, got an address of {kind!r}"
        )
    if not Path(place).name:
        raise InputError(f"expected a file for the index, got '{place}'; name a file in a folder")
    return SqliteStore(Path(place))
