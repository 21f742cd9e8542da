"""JSON of headers and indexes, in which no name may occur twice."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

__all__ = ["read_json"]


def read_json(data: bytes) -> Any:
    """Read JSON.

    Parameters
    ----------
    data : bytes

    Raises
    ------
    ValueError
        If it is none, or a name occurs twice in it.
    RecursionError
        If it is nested too deeply.
    """
    return json.loads(data, object_pairs_hook=_without_duplicates)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        name = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise ValueError(f"{name!r} occurs twice")
    return found
