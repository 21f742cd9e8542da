"""How the database keeps lists of ids (little-endian int32) and of texts, and how statements take and give many."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ARRAY, ColumnElement, Connection, Table, any_, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite

__all__ = [
    "ID_BYTES",
    "batched",
    "insert_into",
    "pack_ids",
    "pack_texts",
    "read_ids",
    "rows_among",
    "unpack_ids",
    "unpack_texts",
]

T = TypeVar("T")

ID_BYTES = 4

_MOST_VALUES = 10_000
"""How many rows are asked for at once."""


def pack_ids(ids: Iterable[int]) -> bytes:
    """Pack ids, in order."""
    return np.array(list(ids), dtype="<i4").tobytes()


def unpack_ids(packed: bytes) -> NDArray[np.int64]:
    """Ids from `pack_ids`, of shape (n,)."""
    return np.frombuffer(packed, dtype="<i4").astype(np.int64)


def batched(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield parts that a query takes at once."""
    for start in range(0, len(values), _MOST_VALUES):
        yield values[start : start + _MOST_VALUES]


def rows_among(
    connection: Connection, query: Any, column: ColumnElement[Any], values: Sequence[Any]
) -> Iterator[Any]:
    """Yield the rows of a query whose column has one of some values.

    The values are one parameter, a list, however many there are: a statement with a parameter for each takes longer
    to write than to run.
    """
    is_sqlite = connection.dialect.name == "sqlite"
    chosen: ColumnElement[bool]
    if is_sqlite:  # which has no arrays, but reads JSON
        chosen = column.in_(select(func.json_each(bindparam("values")).table_valued("value").c.value))
    else:
        chosen = column == any_(bindparam("values", type_=ARRAY(column.type)))
    for part in batched(values):
        yield from connection.execute(
            query.where(chosen), {"values": json.dumps(list(part)) if is_sqlite else list(part)}
        )


def read_ids(connection: Connection, query: Any) -> NDArray[np.int64]:
    """Ids in the first column of a query, of shape (n,); few of them are Python objects at a time."""
    parts = connection.execute(query).partitions(_MOST_VALUES)
    found = (np.array([row[0] for row in part], dtype=np.int64) for part in parts)
    return np.concatenate([np.zeros(0, dtype=np.int64), *found])


def insert_into(connection: Connection, table: Table) -> Any:
    """Return an insertion that can say what happens to rows that exist already."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def pack_texts(texts: Sequence[str]) -> bytes:
    """Pack texts, most of which occur more than once."""
    distinct = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    return zlib.compress(json.dumps([list(distinct), [distinct[text] for text in texts]]).encode())


def unpack_texts(packed: bytes) -> list[str]:
    """Reverse of `pack_texts`."""
    distinct, order = json.loads(zlib.decompress(packed))
    return [distinct[i] for i in order]
