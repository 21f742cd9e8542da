"""Entries picked by patterns of names, and put in an order that people ask for."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import translate
from typing import Any

from zoo_index.hub.availability import Availability
from zoo_index.recommending.answers import Filters

__all__ = ["admitted", "named_like", "near_names", "ordered"]

Entry = Mapping[str, Any]

_KEYS = {"name": "name", "params": "n_params", "top1": "top1", "downloads": "downloads", "size": "n_bytes"}
"""What can be sorted by, and what it is called in an entry."""


def admitted(entries: Iterable[Entry], filters: Filters) -> list[dict[str, Any]]:
    """Return the entries that pass filters, each with ``available``: whether its weights are on this machine."""
    availability = Availability()
    found = (
        {**entry, "available": availability.find(entry) is not None} for entry in entries if filters.admits(entry)
    )
    return [entry for entry in found if entry["available"] or not filters.available]


def named_like(entries: Sequence[Entry], patterns: Sequence[str]) -> list[Entry]:
    """Return entries whose name, or whose architecture's name, matches a pattern; all where there is none.

    In a pattern ``*`` stands for any text, ``?`` for one character, ``[ab]`` for one of these, in either case.
    """
    if not patterns:
        return list(entries)
    wanted = re.compile("|".join(map(translate, patterns)), re.IGNORECASE)
    return [entry for entry in entries if wanted.match(entry["name"]) or wanted.match(entry["architecture"])]


def near_names(patterns: Sequence[str], entries: Iterable[Entry], most: int = 3) -> list[str]:
    """Return names of architectures that are nearest to patterns which nothing matches."""
    names = list(dict.fromkeys(str(entry["architecture"]) for entry in entries))
    words = [re.sub(r"[*?\[\]]+", "", pattern).partition(".")[0] for pattern in patterns]
    found = [near for word in words for near in difflib.get_close_matches(word, names, n=most, cutoff=0.5)]
    return list(dict.fromkeys(found))[:most]


def ordered(entries: Sequence[Entry], key: str | None, is_reversed: bool) -> list[Entry]:
    """Sort entries; those of which a value is not known come last, whichever way round.

    Parameters
    ----------
    entries : sequence of mapping
    key : {'name', 'params', 'top1', 'downloads', 'size'} or None
        None keeps the order of the index.
    is_reversed : bool
        The largest first.
    """
    if key is None:
        return list(reversed(entries)) if is_reversed else list(entries)
    field = _KEYS[key]
    known = [entry for entry in entries if entry[field] is not None]
    unknown = [entry for entry in entries if entry[field] is None]
    return [*sorted(known, key=lambda entry: entry[field], reverse=is_reversed), *unknown]
