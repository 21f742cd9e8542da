"""Temporary folders beside a file that is written, and the removal of those whose writer was killed.

The name of a folder says who writes in it: the machine since it was started, the process, and when that began,
since numbers of processes are used again. Of what another machine or an earlier start left, as on a network file
system, nothing is known; it goes when it has lain untouched for a day.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

__all__ = ["beside", "remove_abandoned"]

_LONGEST_STEM = 150
"""Bytes of a file's name that fit into that of the folder."""

_ABANDONED_SECONDS = 24 * 3600.0


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Make a folder to write in beside `path`, and remove it in the end with what is left in it.

    Raises
    ------
    OSError
        If the folder of `path` cannot be written.
    """
    remove_abandoned(path)
    writer = f"{_machine()}-{os.getpid()}-{_started(os.getpid())}-"
    folder = tempfile.mkdtemp(prefix=f".{_stem(path)}.{writer}", suffix=".tmp", dir=path.parent)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(path: Path) -> None:
    """Remove the folders beside `path` that were made for it by writers that are gone."""
    pattern = re.compile(rf"\.{re.escape(_stem(path))}\.([0-9a-f]{{8}})-(\d{{1,10}})-(\d{{1,20}})-\w{{8}}\.tmp")
    with contextlib.suppress(OSError):
        for name in os.listdir(path.parent):
            made = pattern.fullmatch(name)
            if made and _is_abandoned(path.parent / name, made[1], int(made[2]), int(made[3])):
                shutil.rmtree(path.parent / name, ignore_errors=True)


def _is_abandoned(folder: Path, machine: str, process: int, started: int) -> bool:
    if machine == _machine() and os.name == "posix":
        return not _is_alive(process) or _started(process) != started
    with contextlib.suppress(OSError):
        times = [file.stat().st_mtime for file in (folder, *folder.iterdir())]
        return time.time() - max(times) > _ABANDONED_SECONDS
    return False


def _stem(path: Path) -> str:
    name = os.fsencode(path.name)
    return path.name if len(name) <= _LONGEST_STEM else hashlib.sha256(name).hexdigest()


@cache
def _machine() -> str:
    """Eight digits for this machine since it was started; containers, which number processes anew, differ."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:8]


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # somebody else's
        return True
    return True


def _started(process: int) -> int:
    """When a process began, in ticks since the start of the machine; 0 if it has ended, or that cannot be told."""
    try:
        fields = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()
        return 0 if fields[0] in (b"Z", b"X") else int(fields[19])
    except (OSError, LookupError, ValueError):
        return 0
