"""Lists of ids as the database keeps them: little-endian int32."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["pack_ids", "unpack_ids"]


def pack_ids(ids: Iterable[int]) -> bytes:
    """Pack ids, in order."""
    return np.fromiter(ids, dtype="<i4").tobytes()


def unpack_ids(packed: bytes) -> NDArray[np.int64]:
    """Ids from `pack_ids`, of shape (n,)."""
    return np.frombuffer(packed, dtype="<i4").astype(np.int64)
