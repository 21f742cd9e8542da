"""Lists of ids: how the database keeps them (little-endian int32), and how many a query takes at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["batched", "pack_ids", "unpack_ids"]

T = TypeVar("T")

_MOST_VALUES = 10_000
"""SQLite takes 32,766 values in one statement."""


def pack_ids(ids: Iterable[int]) -> bytes:
    """Pack ids, in order."""
    return np.fromiter(ids, dtype="<i4").tobytes()


def unpack_ids(packed: bytes) -> NDArray[np.int64]:
    """Ids from `pack_ids`, of shape (n,)."""
    return np.frombuffer(packed, dtype="<i4").astype(np.int64)


def batched(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield parts that a query takes at once."""
    for start in range(0, len(values), _MOST_VALUES):
        yield values[start : start + _MOST_VALUES]
