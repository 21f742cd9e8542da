"""Temporary folders beside a file that is written, and the removal of those whose writer was killed.

The name of a folder says who writes in it: the machine since it was started, the process, and when that began,
since numbers of processes are used again. Of what another machine or an earlier start left, as on a network file
system, nothing is known; it goes when it has lain untouched for a day.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transfer.processes import Process, this_machine, this_process

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
    writer = this_process()
    written_by = f"{_digest(writer.machine)}-{writer.pid}-{writer.started}-"
    folder = tempfile.mkdtemp(prefix=f".{_stem(path)}.{written_by}", suffix=".tmp", dir=path.parent)
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
    alive = Process(this_machine(), process, started).is_alive() if machine == _digest(this_machine()) else None
    if alive is not None:
        return not alive
    with contextlib.suppress(OSError):
        times = [file.stat().st_mtime for file in (folder, *folder.iterdir())]
        return time.time() - max(times) > _ABANDONED_SECONDS
    return False


def _stem(path: Path) -> str:
    name = os.fsencode(path.name)
    return path.name if len(name) <= _LONGEST_STEM else hashlib.sha256(name).hexdigest()


def _digest(machine: str) -> str:
    return hashlib.sha256(machine.encode()).hexdigest()[:8]
