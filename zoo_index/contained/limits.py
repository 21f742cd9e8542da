"""What the process of a target may take: time, memory, output."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass

from transfer.errors import InputError

__all__ = ["MOST_OUTPUT", "Limits", "as_size", "limits"]

SECONDS = "ZOO_TARGET_SECONDS"
MEMORY = "ZOO_TARGET_MEMORY"

MOST_OUTPUT = 1 << 20
"""Bytes of what the code prints that are shown."""

_SECONDS = 120.0
_SHARE = 0.8
_CONTROL_GROUP = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Limits:
    """What the process of a target may take.

    Parameters
    ----------
    seconds : float
        That one step may last.
    memory : int
        Bytes that may be resident, of all its processes together.
    """

    seconds: float
    memory: int


def limits() -> Limits:
    """Read the limits from the environment: ``ZOO_TARGET_SECONDS`` and ``ZOO_TARGET_MEMORY`` (such as ``8G``).

    Raises
    ------
    InputError
        If one is set to what is no limit.
    """
    return Limits(_seconds(), _memory())


def _seconds() -> float:
    text = os.environ.get(SECONDS, "").strip()
    if not text:
        return _SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        raise InputError(f"expected a number of seconds such as 600 in {SECONDS}, got {text!r}; set it anew")
    return seconds


def _memory() -> int:
    text = os.environ.get(MEMORY, "").strip()
    if not text:
        return int(_SHARE * _machine_memory())
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)\s*([KMGT]?)(?:i?B)?", text, re.IGNORECASE)
    size = int(float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " ")) if found else 0
    if not size:
        raise InputError(f"expected a size such as 8G or 500M in {MEMORY}, got {text!r}; set it anew")
    return size


def _machine_memory() -> int:
    """Memory of the machine, or of the container that this runs in."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for place in _CONTROL_GROUP:
        try:
            with open(place) as file:
                sizes.append(int(file.read()))
        except (OSError, ValueError):  # no such group, or "max"
            continue
    return min(sizes)


def as_size(n: float) -> str:
    """Write a number of bytes for people."""
    for unit, size in (("GB", 1 << 30), ("MB", 1 << 20)):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n / 1024:.0f} kB"
