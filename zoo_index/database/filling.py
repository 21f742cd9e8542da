"""Fill a database file of no bytes with the content of another database, under SQLite's own lock.

The file cannot simply be replaced: another process may have it open and be about to write to it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

__all__ = ["fill_empty"]


def fill_empty(path: Path, source: Path, seconds: float = 15.0) -> bool:
    """Copy every table into an empty database, all or nothing.

    Parameters
    ----------
    path : Path
        A file.
    source : Path
        Another database.
    seconds : float
        How long to wait for a writer.

    Returns
    -------
    bool
        False if something was in it by now, which is left as it is.

    Raises
    ------
    sqlite3.Error
        If the file cannot be written.
    """
    with closing(sqlite3.connect(path, timeout=seconds, isolation_level=None)) as connection:
        connection.execute("ATTACH ? AS source", (str(source),))
        connection.execute("BEGIN EXCLUSIVE")
        if connection.execute("SELECT 1 FROM main.sqlite_master").fetchone():
            return False
        parts = connection.execute(
            "SELECT type, name, sql FROM source.sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' "
            "ORDER BY type = 'table' DESC"  # indexes need their tables
        ).fetchall()
        for kind, name, sql in parts:
            connection.execute(sql)
            if kind == "table":
                quoted = '"' + name.replace('"', '""') + '"'
                connection.execute(f"INSERT INTO main.{quoted} SELECT * FROM source.{quoted}")
        connection.execute("COMMIT")
    return True
