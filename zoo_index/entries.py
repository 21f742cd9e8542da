"""Entries as the index returns them, and finding one by a name that a user typed."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from zoo_index.errors import UnknownNameError

__all__ = ["Entry", "find_entry"]

Entry = dict[str, Any]
"""A row of `queries.entry_rows`."""


def find_entry(entries: Sequence[Entry], name: str) -> Entry:
    """Return the entry of a name; of an architecture's name the preferred entry, timm's first.

    Raises
    ------
    UnknownNameError
        If there is none; the message names the nearest ones.
    """
    found = [e for e in entries if e["name"] == name] or sorted(
        (e for e in entries if e["architecture"] == name), key=lambda e: (e["catalogue"] != "timm", e["position"])
    )
    if found:
        return found[0]
    names = sorted({e["architecture"] for e in entries} | {e["name"] for e in entries})
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else "see: zoo list"
    raise UnknownNameError(f"expected an entry or architecture of the index, got {name!r}; {hint}")
