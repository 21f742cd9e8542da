"""Bring a database to the schema of this code, or say plainly why it cannot be."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from zoo_index.errors import IndexFileError

__all__ = ["REVISION", "VERSION_TABLE", "check_not_newer", "current_revision", "migrate", "migrations_folder"]

REVISION = "0008"
"""Newest revision; a test holds it against the migrations."""

VERSION_TABLE = "zoo_alembic_version"


def migrations_folder() -> Path:
    """Folder of the migrations: inside the installed package, else in the checkout."""
    installed = Path(__file__).parents[1] / "_migrations"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "migrations"


def current_revision(connection: Connection) -> str | None:
    """Revision of the database; None for an empty one.

    Raises
    ------
    IndexFileError
        If the database belongs to something else.
    """
    tables = inspect(connection).get_table_names()
    if VERSION_TABLE in tables:
        found = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()
        return str(found) if found is not None else None
    if tables:
        raise IndexFileError(
            f"expected a zoo index or an empty database, found other tables ({', '.join(sorted(tables)[:3])}); "
            "name another file with --db or ZOO_DB"
        )
    return None


def check_not_newer(found: str | None, where: str) -> None:
    """Refuse a revision that this code's migrations do not lead through.

    Raises
    ------
    IndexFileError
        If the database was made by a newer version.
    """
    known = {path.name.partition("_")[0] for path in (migrations_folder() / "versions").glob("*_*.py")}
    if found is not None and found not in known:
        raise IndexFileError(
            f"expected an index of revision {REVISION} or older, '{where}' is at {found}, made by a newer version; "
            "upgrade this package, or name another file with --db or ZOO_DB"
        )


def migrate(connection: Connection, where: str) -> bool:
    """Run the missing migrations inside the caller's transaction.

    Parameters
    ----------
    connection : Connection
    where : str
        What to call the database in messages.

    Returns
    -------
    bool
        Whether anything was changed.

    Raises
    ------
    IndexFileError
        If the database was made by a newer version, or belongs to something else.
    """
    found = current_revision(connection)
    if found == REVISION:
        return False
    check_not_newer(found, where)
    # imported here: reading an index that is up to date needs no Alembic, which takes 0.2 s
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except DBAPIError:
        raise
    except Exception as error:  # code of a migration: it may raise anything
        raise IndexFileError(
            f"expected to upgrade the index '{where}' from revision {found} to {REVISION}, got "
            f"{type(error).__name__}: {error}; it is as it was, make another one: zoo --db OTHER index refresh"
        ) from error
    return True
