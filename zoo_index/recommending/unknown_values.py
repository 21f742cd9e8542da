"""Filters that nothing can pass, since the index has no such family, licence and so on: mostly slips of the pen."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from zoo_index.recommending.answers import Filters, license_names

__all__ = ["unknown_values"]

_MOST_NAMED = 8
"""Values that are all named where none is near."""

_WORDS = {"license": "licence", "dataset": "data set"}


def unknown_values(filters: Filters, entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """Say which values of filters no entry has, with the nearest that some have.

    Parameters
    ----------
    filters : Filters
    entries : iterable of mapping
        All of the index.

    Returns
    -------
    list of str
        Such as ``there is no family 'resnett', did you mean 'resnet'?``; empty if each filter by itself lets
        something through.
    """
    wanted = {field: getattr(filters, field) for field in ("family", "license", "catalogue", "task", "dataset")}
    asked = {field: [value] for field, value in wanted.items() if value is not None}
    if filters.license is not None:
        asked["license"] = sorted(license_names(filters.license, is_expanded=False))
    there: dict[str, set[str]] = {field: set() for field in asked}
    for entry in entries:
        for field, values in there.items():
            values.add(str(entry[field] or "unknown"))
    return [
        _unknown(_WORDS.get(field, field), value, there[field])
        for field, values in asked.items()
        for value in values
        if value not in there[field] and not (field == "license" and value in map(str.lower, there[field]))
    ]


def _unknown(what: str, value: str, there: set[str]) -> str:
    alike = {one.lower(): one for one in sorted(there)}
    near = [alike[one] for one in difflib.get_close_matches(value.lower(), alike, n=3, cutoff=0.6)]
    if near:
        return f"there is no {what} {value!r}, did you mean {', '.join(map(repr, near))}?"
    if len(there) <= _MOST_NAMED:
        return f"there is no {what} {value!r}, but {', '.join(sorted(there))}"
    return f"there is no {what} {value!r}; zoo list shows what there is"
