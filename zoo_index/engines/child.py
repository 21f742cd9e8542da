"""The parent's side of one worker process: start it, have it run items one at a time, end it."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

from zoo_index.engines.driving import Outcome
from zoo_index.engines.engine import Done, Lost
from zoo_index.engines.worker import DONE, RAISED, READY, UNFIT, read_frame, write_frame
from zoo_index.errors import EngineError

__all__ = ["Child", "GoneError", "started"]

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
_CODE = "from zoo_index.engines.worker import main; main()"  # -c, so that no main module of the user is run again
_LOOK_SECONDS = 0.25
"""How often a waiting parent looks for what no pipe tells."""
_START_SECONDS = 300.0
_STARTS = 3


class GoneError(Exception):
    """The worker had died before it was given the item."""


class Child:
    """One worker process, in a process group of its own; used by one thread, but for `kill`.

    Parameters
    ----------
    job : bytes
        See `packed_job`.
    idle : float
        Seconds without work after which it ends; 0 for never.
    """

    def __init__(self, job: bytes, idle: float = 0.0) -> None:
        self._job = job
        far, self._lifeline = os.pipe()
        path = [entry or os.getcwd() for entry in sys.path]
        env = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, "1"), "PYTHONPATH": os.pathsep.join(path)}
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _CODE, str(far), str(idle)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env=env,
                pass_fds=(far,) if os.name == "posix" else (),
                start_new_session=True,
            )
        except OSError as error:
            os.close(self._lifeline)
            raise EngineError(
                f"expected to start a worker process, got: {error}; check memory and limits"
            ) from error
        finally:
            os.close(far)
        self._answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._alive = True
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    @property
    def alive(self) -> bool:
        """Whether it was there when last heard of."""
        return self._alive and self._process.returncode is None

    def wait_ready(self) -> bool:
        """Wait until it can take items; False if it died instead.

        Raises
        ------
        EngineError
            If it cannot import or prepare what it is to do.
        """
        try:
            self._send(self._job)
            answer = self._wait(_START_SECONDS, None)
        except (GoneError, TimeoutError):
            answer = None
        if answer is None:
            return False
        if answer[:1] == UNFIT:
            raise EngineError(
                f"expected worker processes that can start, they say: {answer[1:].decode()}; "
                "check that what is installed here is installed for them"
            )
        assert answer[:1] == READY
        return True

    def run(self, payload: bytes, seconds: float | None, cancelled: Callable[[], bool] | None = None) -> Outcome:
        """Run one item; the process is gone after a death or when the time is up.

        Raises
        ------
        GoneError
            If the process was gone before.
        """
        self._send(payload)
        try:
            answer = self._wait(seconds, cancelled)
        except TimeoutError:
            self.kill()
            return Lost(f"took longer than {seconds:g} s", "time")
        if answer is None:
            return Lost(f"its worker process {self.ending()}", "death")
        if answer[:1] == DONE:
            return Done(answer[1:])
        return Lost(answer[1:].decode(), "exception" if answer[:1] == RAISED else "transport")

    def kill(self) -> None:
        """End the process and those it has started, from any thread."""
        self._alive = False
        if self._process.returncode is not None:
            return
        try:
            if os.name == "posix":
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                self._process.kill()
        except (ProcessLookupError, PermissionError):
            self._process.kill()  # not yet, or no longer, a group of its own

    def close(self) -> None:
        """End the process and let go of its pipes."""
        self.kill()
        self._process.wait()
        self._listener.join(1.0)  # longer only where a process that left the group holds the pipe
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        os.close(self._lifeline)

    def _send(self, frame: bytes) -> None:
        assert self._process.stdin is not None
        try:
            write_frame(self._process.stdin.fileno(), frame)
        except OSError as error:
            self.kill()
            raise GoneError from error

    def _wait(self, seconds: float | None, cancelled: Callable[[], bool] | None) -> bytes | None:
        """Wait for an answer; None if the process died.

        Raises
        ------
        TimeoutError
            If there is none in time.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        while True:
            left = _LOOK_SECONDS if deadline is None else min(_LOOK_SECONDS, deadline - time.monotonic())
            try:
                return self._answers.get(timeout=max(left, 0.0))
            except queue.Empty:
                pass
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError
            if cancelled is not None and cancelled():
                self.kill()
                return None
            if self._process.poll() is not None:  # its children may hold the pipe open
                self._alive = False
                _kill_group(self._process.pid)
                try:
                    return self._answers.get(timeout=_LOOK_SECONDS)
                except queue.Empty:
                    return None

    def _listen(self) -> None:
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        try:
            while (answer := read_frame(pipe)) is not None:
                self._answers.put(answer)
        except OSError:
            pass
        self.kill()
        self._process.wait()
        self._answers.put(None)

    def ending(self) -> str:
        """End the process if it lives, and say how it ended."""
        self.kill()
        status = self._process.wait()
        if status >= 0:
            return f"ended with status {status}"
        try:
            name = signal.Signals(-status).name
        except ValueError:
            name = f"signal {-status}"
        return f"was killed by {name}" + (" (out of memory?)" if -status == signal.SIGKILL else "")


def _kill_group(group: int) -> None:
    if os.name == "posix":
        try:
            os.killpg(group, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return


def started(start: Callable[[], Child]) -> Child:
    """Start a worker that takes items.

    Raises
    ------
    EngineError
        If it cannot be had.
    """
    for _ in range(_STARTS):
        child = start()
        try:
            if child.wait_ready():
                return child
        except BaseException:
            child.close()
            raise
        ending = child.ending()
        child.close()
    raise EngineError(
        f"expected worker processes that live, {_STARTS} in a row died as they started; the last one {ending}; "
        "try fewer processes"
    )
