"""A process and all that it started: how much memory they take, and ending them. Alone knows psutil."""

from __future__ import annotations

import time
from contextlib import suppress

import psutil

__all__ = ["end_descendants", "resident_memory", "shared_once"]

_PATIENCE = 3.0
"""Seconds that processes may take to be gone once they were killed; those that wait for a disk take longer."""


def _descendants(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def resident_memory(pid: int) -> int:
    """Bytes that the descendants of a process hold in memory; what they share is counted more than once."""
    return sum(map(_resident, _descendants(pid)))


def shared_once(pid: int) -> int:
    """As `resident_memory`, what they share counted once where the system tells: slower, for when it matters."""
    return sum(map(_proportional, _descendants(pid)))


def _resident(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _proportional(process: psutil.Process) -> int:
    try:
        found = process.memory_full_info()
    except psutil.Error:
        return _resident(process)
    return int(getattr(found, "pss", found.rss))


def end_descendants(pid: int) -> None:
    """Kill every descendant of a process, those that they start meanwhile included.

    Parameters
    ----------
    pid : int
        It stays. Where it adopts orphans, none is missed.
    """
    until = time.monotonic() + _PATIENCE
    while time.monotonic() < until:
        living = [process for process in _descendants(pid) if _is_living(process)]
        if not living:
            return
        for process in living:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(living, timeout=0.02)


def _is_living(process: psutil.Process) -> bool:
    try:
        return process.status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.Error:
        return False
