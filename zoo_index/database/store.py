"""The database behind the index: connections, transactions, what its errors mean.

What SQLite and PostgreSQL do differently is in modules of their own. Every writing transaction of an index waits
for the one before it, so that none fails half-way because of another.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError, NoResultFound

from transfer.errors import ZooError
from zoo_index.database.migrate import REVISION, check_not_newer, current_revision
from zoo_index.errors import IndexFileError

__all__ = ["BUSY_SECONDS", "Connection", "Store"]

BUSY_SECONDS = 15.0
"""How long a writer waits for another one."""

_DAMAGE = (
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    zlib.error,
    NoResultFound,
)
"""What comes of values in rows that nobody wrote there."""


class Store(ABC):
    """One database with an index, or without one yet.

    Attributes
    ----------
    name : str
        What messages call it; without a password.
    place : str
        What another process opens it by.
    vector_path : Path
        File for the vectors that are made from it.
    """

    name: str
    place: str
    vector_path: Path

    def __init__(self) -> None:
        self._engine: Engine | None = None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a transaction for reading, which sees one state of the database throughout.

        The database is not created. One that an older version made is brought up to date first.

        Raises
        ------
        IndexFileError
            If it cannot be read, or was made by a newer version.
        """
        with self._errors("read"):
            self._check_there()
            with self._connect(write=False) as connection:
                found = current_revision(connection)
                if found == REVISION:
                    yield connection
                    return
            if found is None:
                raise IndexFileError(f"expected an index at '{self.name}', found none; run: zoo index refresh")
            check_not_newer(found, self.name)
        self.upgrade()
        with self._errors("read"), self._connect(write=False) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction: all of it or nothing. Creates the database, or brings it up to date, first.

        Raises
        ------
        IndexFileError
            If it cannot be written or was made by a newer version.
        """
        with self._errors("write"):
            self._make_room()
            with self._connect(write=True) as connection:
                found = current_revision(connection)
                if found == REVISION:
                    yield connection
                    return
            check_not_newer(found, self.name)
        self.upgrade()
        with self._errors("write"), self._connect(write=True) as connection:
            yield connection

    def close(self) -> None:
        """Close all connections."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    @abstractmethod
    def exists(self) -> bool:
        """Whether there is a database with tables."""

    @abstractmethod
    def is_writable(self) -> bool:
        """Whether a refresh could write."""

    @abstractmethod
    def upgrade(self) -> None:
        """Bring the tables to the schema of this version, in one transaction, keeping a backup where it can.

        Raises
        ------
        IndexFileError
            If it cannot be done; the database is as it was then.
        """

    @abstractmethod
    def compact(self) -> None:
        """Give the space of deleted rows back."""

    @abstractmethod
    def check(self, connection: Connection) -> list[str]:
        """Run the database's own checks; return what they found."""

    @abstractmethod
    def _open(self) -> Engine:
        """Return the engine, made on first use."""

    @abstractmethod
    def _check_there(self) -> None:
        """Raise IndexFileError if there is nothing to read."""

    def _make_room(self) -> None:
        """Prepare the place where a new database goes."""
        return

    @contextmanager
    def _connect(self, *, write: bool) -> Iterator[Connection]:
        """Yield a connection in a transaction; commit at the end, or roll back."""
        with self._open().connect() as connection:
            self._configure(connection, write=write)
            with connection.begin():
                self._begun(connection, write=write)
                yield connection

    @abstractmethod
    def _configure(self, connection: Connection, *, write: bool) -> None:
        """Say of what kind the next transaction is."""

    def _begun(self, connection: Connection, *, write: bool) -> None:
        """Take the locks that a transaction needs from the beginning."""
        return

    @abstractmethod
    def _remedy(self, error: DBAPIError) -> str:
        """Say what to do about an error of the database."""

    @contextmanager
    def _errors(self, verb: str) -> Iterator[None]:
        try:
            yield
        except ZooError:
            raise
        except _DAMAGE as error:
            if verb != "read" and not isinstance(error, UnicodeDecodeError):  # of the database's message
                raise
            raise IndexFileError(
                f"expected whole rows in the index '{self.name}', found damaged ones ({type(error).__name__}: "
                f"{error}); move it away and make it anew: zoo index refresh"
            ) from error
        except DBAPIError as error:
            said = " ".join(str(error.orig).split())
            raise IndexFileError(
                f"expected to {verb} the index '{self.name}', the database says: {said}; {self._remedy(error)}"
            ) from error
        except OSError as error:
            if isinstance(error, IndexFileError):
                raise
            raise IndexFileError(
                f"expected to {verb} the index '{self.name}', got: {error.strerror or error}; "
                "check the permissions, or name another file with --db or ZOO_DB"
            ) from error
