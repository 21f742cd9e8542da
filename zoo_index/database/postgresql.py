"""The index in a PostgreSQL database, for many machines. The only module that knows psycopg, through SQLAlchemy."""

from __future__ import annotations

import hashlib
import weakref
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, create_engine, event, inspect, make_url
from sqlalchemy.engine import Engine
from sqlalchemy.exc import ArgumentError, DBAPIError

from zoo_index.database.migrate import REVISION, VERSION_TABLE, current_revision, migrate
from zoo_index.database.store import BUSY_SECONDS, Store
from zoo_index.errors import IndexFileError

__all__ = ["PostgresqlStore", "url_of"]

_CONNECT_SECONDS = 5
_LOCK = 0x7A6F6F  # "zoo": any number of our own will do


class PostgresqlStore(Store):
    """A database on a server; it must exist, its tables are made on the first write.

    Parameters
    ----------
    url : str
        ``postgresql://user:password@host:port/name``; what is left out comes from the usual variables (PGHOST,
        PGUSER, PGPASSWORD ...).

    Raises
    ------
    IndexFileError
        If it is no such address, or psycopg is not installed.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        parsed = self._url = url_of(url)
        self.name = parsed.set(drivername="postgresql").render_as_string(hide_password=True)
        self.place = url
        known = parsed.set(drivername="postgresql", password=None).render_as_string()
        from platformdirs import user_cache_path

        folder = user_cache_path("zoo", appauthor=False)
        self.vector_path = Path(folder, f"{hashlib.sha256(known.encode()).hexdigest()[:16]}.faiss")

    def exists(self) -> bool:
        """Whether there is a database with tables."""
        with self._errors("read"), self._connect(write=False) as connection:
            return inspect(connection).has_table(VERSION_TABLE)

    def is_writable(self) -> bool:
        """Whether the user may change the tables."""
        with self.reading() as connection:
            query = "SELECT has_table_privilege('state', 'UPDATE')"
            return bool(connection.exec_driver_sql(query).scalar())

    def upgrade(self) -> None:
        """Run the missing migrations; PostgreSQL undoes all of them if one fails."""
        with self._errors("upgrade"), self._connect(write=True) as connection:
            if current_revision(connection) != REVISION:
                migrate(connection, self.name)

    def compact(self) -> None:
        """Give the space of deleted rows back to the server."""
        with self._errors("write"), self._open().connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("VACUUM")

    def check(self, connection: Connection) -> list[str]:
        """Return nothing: the server checks its rows and references itself."""
        return []

    def _open(self) -> Engine:
        if self._engine is None:
            try:
                self._engine = create_engine(
                    self._url, connect_args={"connect_timeout": _CONNECT_SECONDS, "application_name": "zoo"}
                )
            except ImportError as error:
                raise IndexFileError(
                    f"expected psycopg for an index on PostgreSQL, got: {error}; pip install 'zoo-index[postgres]'"
                ) from error
            event.listen(self._engine, "connect", _set_time_zone)
            weakref.finalize(self, self._engine.dispose)  # psycopg wants its connections closed
        return self._engine

    def _check_there(self) -> None:
        if not self.exists():
            raise IndexFileError(f"expected an index in '{self.name}', found none; run: zoo index refresh")

    def _configure(self, connection: Connection, *, write: bool) -> None:
        if write:
            connection.execution_options(isolation_level="READ COMMITTED", postgresql_readonly=False)
        else:
            connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def _begun(self, connection: Connection, *, write: bool) -> None:
        if write:  # one writer at a time, as with SQLite
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{BUSY_SECONDS:.0f}s'")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")

    def _remedy(self, error: DBAPIError) -> str:
        if "lock timeout" in str(error.orig):
            return "another process is using it, try again when that is done"
        return "check the address, the server and the user's rights, or name another index with --db or ZOO_DB"


def url_of(address: str) -> URL:
    """Read an address as a user types it.

    Raises
    ------
    IndexFileError
        If it is none.
    """
    try:
        parsed = make_url(address.replace("postgres:", "postgresql:", 1))
    except (ArgumentError, ValueError) as error:
        raise IndexFileError(
            f"expected postgresql://user@host/name, got an address that is none: {error}"
        ) from error
    return parsed.set(drivername="postgresql+psycopg")


def _set_time_zone(connection: Any, _record: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
    connection.commit()
