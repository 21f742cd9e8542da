"""Size and time of weights files, by which a change is noticed without reading them."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo_index.foundation.counting import counted
from zoo_index.hub.availability import parts_of

__all__ = ["FILES", "Stamp", "changes_in", "stamp_of"]

FILES = ("local", "folder")
"""Catalogues of files that their owners may write again; those of packages and hubs are kept by others."""

_MOST_CHANGED = 5
"""Files that are named because they are no longer as they were."""


@dataclass(frozen=True)
class Stamp:
    """Size and time of a checkpoint, in one file or several.

    Parameters
    ----------
    n_bytes : int
        Of all its files.
    modified_ns : int
        When it was written, in nanoseconds of the epoch; of several files a number that changes with any of their
        sizes and times.
    """

    n_bytes: int
    modified_ns: int


def stamp_of(file: Path) -> Stamp:
    """Look at a file, and at those that belong to it.

    Raises
    ------
    OSError
        If one is not there.
    """
    found = [one.stat() for one in (file, *parts_of(file))]
    return Stamp(sum(one.st_size for one in found), _time_of(found))


def _time_of(found: Sequence[os.stat_result]) -> int:
    if len(found) == 1:
        return found[0].st_mtime_ns
    text = repr([(one.st_size, one.st_mtime_ns) for one in found])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1  # databases have 63 bits


def changes_in(entries: Iterable[Mapping[str, Any]], call: str = "zoo") -> list[str]:
    """Say which entries are of files that were written since the index read them, and what to do.

    Parameters
    ----------
    entries : iterable of mapping
        With ``catalogue``, ``path``, ``n_bytes`` and ``modified_ns``.
    call : str
        How the command line is called for this index.

    Returns
    -------
    list of str
        One for each file; of many files the last one says how many more there are.
    """
    told = []
    for entry in entries:
        change = _change_of(entry)
        if change:
            again = "index refresh" if entry["catalogue"] == "folder" else f"add {shlex.quote(entry['path'])}"
            told.append(f"'{entry['path']}' {change} since the index read it; run: {call} {again}")
    more = len(told) - _MOST_CHANGED
    return [*told[:_MOST_CHANGED], *([f"the same holds for {counted(more, 'other file')}"] if more > 0 else [])]


def _change_of(entry: Mapping[str, Any]) -> str:
    """Say what happened to the file of an entry; nothing of one that is gone, or of another catalogue."""
    if entry["catalogue"] not in FILES or not entry["path"] or not os.path.isfile(entry["path"]):
        return ""
    try:
        found = stamp_of(Path(entry["path"]))
    except (OSError, ValueError):
        return "has lost one of its files"
    kept = {"n_bytes": found.n_bytes, "modified_ns": found.modified_ns}
    is_other = any(entry[name] not in (None, value) for name, value in kept.items())
    return "was written again" if is_other else ""
