"""The index in one file, by SQLite.

In rollback-journal mode: the write-ahead log of SQLite before 3.51.3 can corrupt a database
(https://sqlite.org/wal.html). Every writing transaction starts with BEGIN IMMEDIATE, so that two writers wait
instead of failing.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, create_engine, event, text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError

from transfer.weights.files import replacing
from zoo_index.database.migrate import REVISION, current_revision, migrate
from zoo_index.database.store import BUSY_SECONDS, Store
from zoo_index.errors import IndexFileError

__all__ = ["SqliteStore"]

_CACHE_KIB = 65_536
"""Memory that a connection may use for pages; SQLite's own 2 MiB make large indexes slow to fill."""


class SqliteStore(Store):
    """One database file.

    Parameters
    ----------
    path : Path
        Created, with its folder, on the first write.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.name = self.place = str(path)
        self.vector_path = path.with_name(path.name + ".faiss")

    def exists(self) -> bool:
        """Whether there is a database with tables, or something else that is no empty file."""
        try:
            if self.path.stat().st_size == 0:
                return False
        except (OSError, ValueError):
            return False
        try:  # another process may be making it
            with closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS)) as connection:
                return connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None
        except (sqlite3.Error, UnicodeDecodeError):  # a message may quote damaged text
            return True  # who reads it will hear what is wrong

    def is_writable(self) -> bool:
        """Whether the folder can be written, where SQLite keeps its journal."""
        return os.access(self.path.parent, os.W_OK) and os.access(self.path, os.W_OK)

    def backup_path(self, revision: str) -> Path:
        """File that keeps the database as it was at an older revision."""
        return self.path.with_name(f"{self.path.name}.{revision}.bak")

    def upgrade(self) -> None:
        """Run the missing migrations; the old database lies beside as ``NAME.REVISION.bak`` afterwards."""
        with self._errors("upgrade"):
            self._make_room()
            with self._open().connect() as connection:
                # a table is rebuilt by dropping the old one, which must not drop what refers to its rows; the
                # pragma does nothing inside a transaction
                driver = connection.connection.driver_connection
                assert driver is not None
                driver.execute("PRAGMA foreign_keys=OFF")
                self._configure(connection, write=True)
                with connection.begin():
                    found = current_revision(connection)
                    if found == REVISION:  # another process was faster
                        return
                    if found is not None:
                        self._back_up(found)
                    migrate(connection, self.name)
                    broken = self._dangling(connection)
                    if broken:
                        raise IndexFileError(
                            f"expected to upgrade the index '{self.name}' from revision {found}, {broken[0]}; it "
                            "is as it was; make a new one: zoo --db OTHER index refresh"
                        )
            self.close()  # pooled connections: this one has no foreign keys, others know the old tables

    def compact(self) -> None:
        """Give the space of deleted rows back."""
        with self._errors("write"):
            self._autocommit("VACUUM")

    def check(self, connection: Connection) -> list[str]:
        """Run SQLite's own checks; return what they found."""
        found = [str(row[0]) for row in connection.execute(text("PRAGMA quick_check"))]
        return [line for line in found if line != "ok"] + self._dangling(connection)

    @staticmethod
    def _dangling(connection: Connection) -> list[str]:
        rows = connection.execute(text("PRAGMA foreign_key_check"))
        return [f"row {row[1]} of {row[0]} points nowhere" for row in rows]

    def _back_up(self, revision: str) -> None:
        with replacing(self.backup_path(revision)) as temporary:
            temporary.unlink()  # SQLite wants to make the file itself
            self._autocommit("VACUUM INTO ?", str(temporary))

    def _autocommit(self, statement: str, *values: str) -> None:
        raw = self._open().raw_connection()
        try:
            raw.cursor().execute(statement, values)
        except Exception as error:
            raise DBAPIError(statement, values, error) from error
        finally:
            raw.close()

    def _open(self) -> Engine:
        if self._engine is None:
            # isolation_level None: the driver starts no transaction of its own, BEGIN is always ours
            self._engine = create_engine(
                URL.create("sqlite", database=str(self.path)),
                connect_args={"timeout": BUSY_SECONDS, "isolation_level": None},
            )
            event.listen(self._engine, "connect", _set_pragmas)
            event.listen(self._engine, "begin", _begin)
        return self._engine

    def _check_there(self) -> None:
        if not self.exists():
            raise IndexFileError(f"expected an index at '{self.name}', found none; run: zoo index refresh")

    def _make_room(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def _configure(self, connection: Connection, *, write: bool) -> None:
        connection.execution_options(zoo_begin="BEGIN IMMEDIATE" if write else "BEGIN")

    def _remedy(self, error: DBAPIError) -> str:
        if "locked" in str(error.orig):
            return "another process is using it, try again when that is done"
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF  # the rest says where it happened
        if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            what = "the disk is full" if code == sqlite3.SQLITE_FULL else "the disk is full, limited, or fails"
            return f"{what}, what was there before is kept: make room, or name another file with --db or ZOO_DB"
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return "it is none, or damaged: move it away, or name another file with --db or ZOO_DB"
        return "check the disk and the permissions, or name another file with --db or ZOO_DB"


def _set_pragmas(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
    # a long transaction must not lock readers out before it commits, whatever memory its pages take
    connection.execute("PRAGMA cache_spill=OFF")


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql(connection.get_execution_options().get("zoo_begin", "BEGIN"))
