"""Which process holds something, and whether it still lives: the only module that asks for other processes."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["Holder", "this_process"]


@dataclass(frozen=True)
class Holder:
    """A process.

    Parameters
    ----------
    host : str
    machine : str
        Tells this boot of this machine, and this container on it, from others.
    pid : int
    started : float
        When it began, so that a later process of the same number is not taken for it.
    """

    host: str
    machine: str
    pid: int
    started: float

    def is_alive(self) -> bool | None:
        """Whether it lives; None if it runs on another machine."""
        if self.machine != _machine():
            return None
        import psutil

        try:
            process = psutil.Process(self.pid)
            is_same: bool = abs(process.create_time() - self.started) < 1.0
            return is_same and bool(process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False
        except psutil.Error:
            return True


def this_process() -> Holder:
    """Return what tells this process from all others."""
    import psutil

    return Holder(socket.gethostname(), _machine(), os.getpid(), psutil.Process().create_time())


@cache
def _machine() -> str:
    parts = [socket.gethostname()]
    with suppress(OSError):  # Linux
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)
