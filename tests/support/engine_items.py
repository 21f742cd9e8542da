"""What workers are asked to do in tests of engines."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

Item = tuple[str, Any]


class Unpicklable:
    def __reduce__(self) -> str:
        raise TypeError("this one stays here")


class UnreadableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text either")


def act(item: Item) -> Any:
    """Do what the item says."""
    return globals()[f"_{item[0]}"](item[1])


def _double(number: int) -> int:
    return 2 * number


def _sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def _await(path: str) -> None:
    """Wait for a file."""
    deadline = time.monotonic() + 60
    while not Path(path).exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _exit(status: int) -> None:
    os._exit(status)


def _signal(number: int) -> None:
    os.kill(os.getpid(), number)
    time.sleep(60)


def _crash(_: object) -> None:
    ctypes.string_at(0)


def _hold(_: object) -> int:
    return int("9") ** 9**9  # holds the interpreter's lock for ever


def _fail(text: str) -> None:
    raise ValueError(text)


def _fail_mutely(_: object) -> None:
    raise UnreadableError


def _leave(status: int) -> None:
    sys.exit(status)


def _large(size: int) -> bytes:
    return bytes(size)


def _length(data: bytes) -> int:
    return len(data)


def _stay(_: object) -> Unpicklable:
    return Unpicklable()


def _environment(name: str) -> str | None:
    return os.environ.get(name)


def _pid(_: object) -> int:
    return os.getpid()


def _print(text: str) -> str:
    print(text)
    return text


def _spawn_and_exit(folder: str) -> None:
    """Leave a process of one's own behind that holds everything open."""
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
        os._exit(0)
    Path(folder, "left").write_text(str(pid))
    os._exit(7)


def _kill_host(_: object) -> None:
    """Kill the Dask worker that this process works for."""
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


def _busy(folder: str) -> int:
    mark = Path(folder, f"running-{os.getpid()}")
    mark.write_text("")
    time.sleep(0.1)
    mark.unlink()
    return os.getpid()


def _flaky(folder: str) -> tuple[int, int]:
    """Die at the first try; at the second say which process this is, and count who else is running."""
    tried = Path(folder, "tried")
    if not tried.exists():
        tried.write_text("")
        os._exit(9)
    time.sleep(0.3)
    return os.getpid(), len(list(Path(folder).glob("running-*")))


def fail_to_prepare() -> None:
    raise FileNotFoundError("nothing to work with")


def die_preparing() -> None:
    os._exit(3)


def prepare_slowly() -> None:
    time.sleep(1.2)
