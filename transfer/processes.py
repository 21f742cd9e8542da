"""Which process did something, and whether it still lives: for what it left behind when it was killed."""

from __future__ import annotations

import contextlib
import os
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Process", "this_machine", "this_process"]


@dataclass(frozen=True)
class Process:
    """A process.

    Parameters
    ----------
    machine : str
        As `this_machine` returns it.
    pid : int
    started : int
        When it began, in ticks since the start of the machine, for numbers of processes are used again; 0 where
        that cannot be told.
    """

    machine: str
    pid: int
    started: int

    def is_alive(self) -> bool | None:
        """Whether it lives; None if it runs, or ran, on another machine."""
        if self.machine != this_machine() or os.name != "posix":
            return None
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return False
        except OSError:  # somebody else's
            pass
        return _started(self.pid) == self.started


def this_process() -> Process:
    """Return what tells this process from all others."""
    return Process(this_machine(), os.getpid(), _started(os.getpid()))


@cache
def this_machine() -> str:
    """Name this machine since it was started; containers on it, which number processes anew, differ."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):  # Linux
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return "|".join(parts)


def _started(pid: int) -> int:
    """When a process began; 0 if it has ended, or that cannot be told."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return 0 if fields[0] in (b"Z", b"X") else int(fields[19])
    except (OSError, LookupError, ValueError):
        return 0
