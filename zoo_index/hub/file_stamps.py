"""Size and time of weights files, by which a change is noticed without reading them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo_index.hub.availability import parts_of

__all__ = ["FILES", "Stamp", "has_changed", "stamp_of"]

FILES = ("local", "folder")
"""Catalogues of files that their owners may write again; those of packages and hubs are kept by others."""


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


def has_changed(entry: Mapping[str, Any]) -> bool:
    """Whether the file of an entry was written since the index looked at it; not so of one that is gone.

    Parameters
    ----------
    entry : mapping
        With ``catalogue``, ``path``, ``n_bytes`` and ``modified_ns``; what the index does not know is not compared.
    """
    if entry["catalogue"] not in FILES or not entry["path"]:
        return False
    path = Path(entry["path"])
    if not path.is_file():
        return False
    try:
        found = stamp_of(path)
    except OSError:  # one of several files is gone
        return True
    kept = {"n_bytes": found.n_bytes, "modified_ns": found.modified_ns}
    return any(entry[name] not in (None, value) for name, value in kept.items())
