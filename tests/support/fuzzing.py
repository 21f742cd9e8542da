"""Readers of foreign files, given damaged and hostile ones: a sound value or an error that says so, nothing else.

Never another exception, never a signal, a hang or memory far beyond the file, and nothing in a file is run. Files
are read in copies of this process, a batch at a time. A failure names the number that makes its file again.
"""

from __future__ import annotations

import os
import random
import resource
import signal
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transfer.errors import ZooError

EXECUTIONS = {
    "safetensors": (1000, 100_000),
    "torch zip": (500, 60_000),
    "torch zip bytes": (500, 20_000),
    "torch legacy": (500, 30_000),
    "other formats": (500, 20_000),
    "shards": (1500, 30_000),
    "csv": (1500, 100_000),
    "config": (50, 1_000),
    "messages": (400, 30_000),
    "architectures": (400, 15_000),
    "vectors": (400, 50_000),
    "database": (60, 1_000),
}
"""Files that each reader is given: in every run (some thirty seconds on one free core), and in the slow one."""

BATCH = 50
"""Files a process."""

MOST_SECONDS = 20
"""For one file of a few kilobytes: a hang, not a busy machine."""

MOST_MEMORY = 400 << 20
"""Bytes that a process may grow by while it reads a batch of small files."""

Reader = Callable[[random.Random, Path], None]


def read_batch(reader: Reader, seeds: list[int], folder: Path) -> str:
    """Read files in a copy of this process; return what went wrong, empty if nothing did."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reads)
            _read_all(reader, seeds, folder, writes)
        finally:
            os._exit(0)
    os.close(writes)
    told = b""
    while piece := os.read(reads, 1 << 16):
        told += piece
    os.close(reads)
    _, status = os.waitpid(child, 0)
    begun, _, failed = told.decode(errors="replace").partition("!")
    if os.WIFSIGNALED(status):
        return f"seed {seeds[len(begun) - 1]}: signal {os.WTERMSIG(status)}"
    if not failed and len(begun) != len(seeds):
        return f"seed {seeds[len(begun) - 1]}: the process ended"
    return failed and f"seed {seeds[len(begun) - 1]}: {failed}"


def _read_all(reader: Reader, seeds: list[int], folder: Path, writes: int) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process: an exception could be caught by what hangs
    for seed in seeds:
        os.write(writes, b".")
        signal.alarm(MOST_SECONDS)
        try:
            reader(random.Random(seed), folder)
        except ZooError:
            pass
        except BaseException:
            os.write(writes, b"!" + traceback.format_exc().encode(errors="replace"))
            return
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
        if grown > MOST_MEMORY:
            os.write(writes, f"!it took {grown >> 20} MiB".encode())
            return
    if (folder / "marker").exists():
        os.write(writes, b"!the file was run")


def fuzz(name: str, n: int, reader: Reader, folder: Path) -> None:
    """Let a reader read `n` files."""
    size = min(BATCH, n)

    @settings(max_examples=n // size, derandomize=True, deadline=None, database=None)
    @given(st.integers(0, 2**40))
    def read(first: int) -> None:
        failed = read_batch(reader, [first * size + i for i in range(size)], folder)
        assert not failed, f"{name}, {failed}"

    begun = time.monotonic()
    read()
    print(f"{name}: {n} executions in {time.monotonic() - begun:.1f} s")


def lanes(name: str) -> Any:
    fast, slow = EXECUTIONS[name]
    mark = [pytest.mark.slow, pytest.mark.timeout(3600)]
    return pytest.mark.parametrize("n", [fast, pytest.param(slow, marks=mark)])
