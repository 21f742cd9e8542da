"""A quick look at an index: how much is in it, names that begin so, and what entries say of themselves.

For what must not keep anybody waiting, such as the Tab key: nothing is checked, written or brought up to date, a
file is read without SQLAlchemy, and whatever is wrong means that there is nothing to tell.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from zoo_index.database.opening import is_address

__all__ = ["FIELDS", "amounts", "names_beginning", "values_of"]

_SECONDS = 2
"""How long a lock or a server is waited for."""

_NOW = "(SELECT generation FROM state)"
_STANDING = f"born <= {_NOW} AND (died IS NULL OR died > {_NOW})"
_AMOUNTS = f"SELECT n_architectures, n_entries FROM generation WHERE number = {_NOW}"

FIELDS = ("family", "license", "catalogue", "task", "dataset")
"""What entries are filtered by that is the same for many of them."""

Rows = Sequence[Sequence[Any]]


def amounts(place: str) -> tuple[int, int] | None:
    """Count architectures and entries of an index, None where there is none that can be read so."""
    rows = _rows(place, _AMOUNTS, ())
    return (int(rows[0][0]), int(rows[0][1])) if rows else None


def names_beginning(place: str, begin: str, most: int) -> list[str]:
    """Return names of entries and architectures that begin so, the first of the alphabet.

    Parameters
    ----------
    place : str
        Of the database, as `opening.open_store` takes it.
    begin : str
    most : int
    """
    values: tuple[str, ...]
    if is_address(place):
        is_alike, values = "starts_with(name, %s)", (begin,)
    else:  # which the index of the column can answer
        is_alike, values = "name >= ? AND name < ?", (begin, begin + "\U0010ffff")
    found = " UNION ".join(
        f"SELECT name FROM {table} WHERE {is_alike} AND {_STANDING}" for table in ("entry", "architecture")
    )
    rows = _rows(place, f"SELECT name FROM ({found}) AS found ORDER BY name LIMIT {int(most)}", values * 2)
    return [str(row[0]) for row in rows]


def values_of(place: str, field: str, most: int) -> list[str]:
    """Return what the entries of an index have in a field, the most frequent first.

    Parameters
    ----------
    place : str
        As for `names_beginning`.
    field : str
        One of `FIELDS`. Of a licence, task or data set that is not stated it is ``unknown``, as filters call it.
    most : int
    """
    if field not in FIELDS:
        raise ValueError(f"expected one of {', '.join(FIELDS)}, got {field!r}")
    unstated = "" if field in ("family", "catalogue") else "unknown"
    query = f"SELECT coalesce(nullif({field}, ''), '{unstated}') AS found FROM entry WHERE {_STANDING}"
    rows = _rows(place, f"{query} GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT {int(most)}", ())
    return [str(row[0]) for row in rows if row[0]]


def _rows(place: str, query: str, values: tuple[str, ...]) -> Rows:
    try:
        return (_of_server if is_address(place) else _of_file)(place, query, values)
    except Exception:  # a damaged, older or locked one, or none at all
        return []


def _of_file(place: str, query: str, values: tuple[str, ...]) -> Rows:
    uri = f"{Path(place).absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(uri, uri=True, timeout=_SECONDS)) as connection:
        return connection.execute(query, values).fetchall()


def _of_server(place: str, query: str, values: tuple[str, ...]) -> Rows:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    from zoo_index.database.postgresql import url_of

    options = f"-c default_transaction_read_only=on -c statement_timeout={_SECONDS}s"
    limits = {"connect_timeout": _SECONDS, "options": options}
    engine = create_engine(url_of(place), poolclass=NullPool, connect_args=limits)
    with engine.connect() as connection:
        return [tuple(row) for row in connection.exec_driver_sql(query, values)]
