"""The database behind the index: connections and transactions.

SQLite in rollback-journal mode (the write-ahead log of SQLite before 3.51.3 can corrupt a database);
every writing transaction starts with BEGIN IMMEDIATE, so that two writers wait instead of failing.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError, NoResultFound

from transfer.errors import ZooError
from zoo_index.database.migrate import REVISION, check_not_newer, current_revision, migrate
from zoo_index.errors import IndexFileError

__all__ = ["Store", "default_path"]

_BUSY_SECONDS = 15.0
"""How long a writer waits for another one."""


def default_path() -> Path:
    """Where the index lives: ``ZOO_DB``, else the user's data folder."""
    chosen = os.environ.get("ZOO_DB")
    if chosen:
        return Path(chosen)
    from platformdirs import user_data_path

    return user_data_path("zoo", appauthor=False) / "zoo.db"


_CACHE_KIB = 65_536
"""Memory that a connection may use for pages; SQLite's own 2 MiB make large indexes slow to fill."""


class Store:
    """One database file.

    Parameters
    ----------
    path : Path
        Created, with its folder, on the first write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine: Engine | None = None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a connection for reading; the database is not created and not migrated.

        Raises
        ------
        IndexFileError
            If the file cannot be read or has another revision.
        """
        with self._errors("read"):
            engine = self._open(create=False)
            with engine.connect() as connection:
                connection.exec_driver_sql("BEGIN")
                found = current_revision(connection)
                check_not_newer(found, str(self.path))
                if found != REVISION:
                    raise IndexFileError(
                        f"expected an index of revision {REVISION}, '{self.path}' is at {found}; "
                        "run: zoo index refresh"
                    )
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction: all of it or nothing. Creates or migrates the database first.

        Raises
        ------
        IndexFileError
            If the file cannot be written or was made by a newer version.
        """
        with self._errors("write"):
            engine = self._open(create=True)
            with engine.connect() as connection:
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                try:
                    migrate(connection, str(self.path))
                    yield connection
                    connection.exec_driver_sql("COMMIT")
                except BaseException:
                    with suppress(
                        DBAPIError
                    ):  # after a full disk SQLite has already done so; the first error counts
                        connection.exec_driver_sql("ROLLBACK")
                    raise

    def exists(self) -> bool:
        """Whether there is a database with tables."""
        try:
            return self.path.stat().st_size > 0
        except OSError:
            return False

    def copy_to(self, path: Path) -> None:
        """Write a compact copy of the database to a path where nothing is."""
        with self._errors("copy"), self._open(create=False).connect() as connection:
            connection.exec_driver_sql("VACUUM INTO ?", (str(path),))

    def compact(self) -> None:
        """Give the space of deleted rows back."""
        with self._errors("write"), self._open(create=False).connect() as connection:
            connection.exec_driver_sql("VACUUM")

    def close(self) -> None:
        """Close all connections."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _open(self, *, create: bool) -> Engine:
        if create:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        elif not self.exists():
            raise IndexFileError(f"expected an index at '{self.path}', found none; run: zoo index refresh")
        if self._engine is None:
            # isolation_level None: the driver starts no transaction of its own, BEGIN is always ours
            self._engine = create_engine(
                URL.create("sqlite", database=str(self.path)),
                connect_args={"timeout": _BUSY_SECONDS, "isolation_level": None},
            )
            event.listen(self._engine, "connect", _set_pragmas)
        return self._engine

    @contextmanager
    def _errors(self, verb: str) -> Iterator[None]:
        try:
            yield
        except ZooError:
            raise
        except (LookupError, ValueError, NoResultFound) as error:
            if verb != "read":
                raise
            raise IndexFileError(
                f"expected whole rows in the index '{self.path}', found damaged ones ({type(error).__name__}: "
                f"{error}); move the file away and make it anew: zoo index refresh"
            ) from error
        except DBAPIError as error:
            raise IndexFileError(
                f"expected to {verb} the index '{self.path}', the database says: {error.orig}; "
                f"{_remedy(error.orig)}"
            ) from error
        except (OSError, sqlite3.Error) as error:
            if isinstance(error, IndexFileError):
                raise
            raise IndexFileError(
                f"expected to {verb} the index '{self.path}', got: {error}; "
                "check the permissions, or name another file with --db or ZOO_DB"
            ) from error


def _remedy(error: object) -> str:
    """Say what to do about an error of the database."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the rest says where it happened
    if "locked" in str(error):
        return "another process is using it, try again when that is done"
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        what = "the disk is full" if code == sqlite3.SQLITE_FULL else "the disk is full, limited, or fails"
        return f"{what}, what was there before is kept: make room, or name another file with --db or ZOO_DB"
    return "check the disk and the permissions, or name another file with --db or ZOO_DB"


def _set_pragmas(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
