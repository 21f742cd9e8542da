"""The first process of a target: it starts the one that runs the code, waits, and leaves nothing behind.

It does so also where the command is killed and can do nothing itself. It runs none of the code, imports nothing
that is large, and adopts what the code's processes leave behind, so that none gets away.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
from contextlib import suppress

__all__ = ["main"]

_ADOPT_ORPHANS, _DIE_WITH_PARENT = 36, 1
"""Numbers of PR_SET_CHILD_SUBREAPER and PR_SET_PDEATHSIG, for Linux."""

_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What code may send to its whole group."""


def main(*, lifeline: int, requests: int, answers: int, folder: str | None) -> None:
    """Start the worker and wait for its end, or for that of the command; never returns.

    Parameters
    ----------
    lifeline : int
        Descriptor that comes to its end when the command does.
    requests, answers : int
        Descriptors of the channel.
    folder : str or None
        Removed in the end, if it is still there.
    """
    worker = os.fork()  # before anything large is imported, and before there are threads
    if not worker:
        os.close(lifeline)
        _control(_DIE_WITH_PARENT, signal.SIGKILL)
        from zoo_index.contained.worker import serve

        serve(requests, answers)
        os._exit(0)
    os.close(requests)
    os.close(answers)
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    _control(_ADOPT_ORPHANS, 1)
    status = _wait(worker, lifeline)
    _end_descendants()
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
    _end_like(status)


def _wait(worker: int, lifeline: int) -> int | None:
    """Return the status of the worker at its end; None if the command came to its end first."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    while True:
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if found[0] == worker:
                    return found[1]
        ready = select.select([lifeline, reading], [], [])[0]
        if lifeline in ready and not os.read(lifeline, 1):
            return None
        if reading in ready:
            os.read(reading, 4096)


def _end_descendants() -> None:
    from zoo_index.contained.processes import end_descendants

    end_descendants(os.getpid())


def _end_like(status: int | None) -> None:
    """End as the worker did, for the command to see."""
    if status is None or os.WIFEXITED(status):
        os._exit(os.WEXITSTATUS(status) if status is not None else 1)
    number = os.WTERMSIG(status)
    with suppress(OSError, ValueError):  # SIGKILL has no handler to be restored
        signal.signal(number, signal.SIG_DFL)
    _without_core()
    os.kill(os.getpid(), number)
    os._exit(128 + number)


def _without_core() -> None:
    """One core dump is enough."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _control(what: int, value: int) -> None:
    """Ask the system for what only Linux has; elsewhere processes in a session of their own may be missed."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(what, value, 0, 0, 0)
