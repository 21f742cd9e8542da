"""The process of a target, as the command sees it: asked, watched, and ended with all that it started."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any

from transfer.errors import TargetError
from zoo_index.contained import channel
from zoo_index.contained.failures import error_from
from zoo_index.contained.limits import MEMORY, SECONDS, as_size, limits
from zoo_index.contained.relay import Relay
from zoo_index.contained.surroundings import command_line, without_secrets
from zoo_index.foundation import interrupts, progress
from zoo_index.foundation.plain_text import plain

__all__ = ["Child"]

_INTERVAL = 0.1
"""Seconds between looks at the clock and at memory, unless looking takes long itself."""

_PATIENCE = 0.5
"""Seconds after which an interrupt is noticed that was lost."""

_MOST_BYTES = 2**63
"""Of a step; what says more is no answer."""

_LAST_WORDS = 1.0
"""Seconds that are waited for what was printed before the end."""


class Child:
    """A process that runs a target's code. It is ended, whatever happens, when the block of ``with`` is left.

    Parameters
    ----------
    spec : str
        What the user calls the target, for messages.
    folder : Path, optional
        The process removes it should the command be killed.

    Raises
    ------
    InputError
        If a limit is set to what is none.
    """

    def __init__(self, spec: str, folder: Path | None = None) -> None:
        self._spec, self._limits = spec, limits()
        self._said: SimpleQueue[Any] = SimpleQueue()
        self._step, self._since = "start", time.monotonic()
        self._has_ended = False
        theirs, ours = _start(None if folder is None else os.path.abspath(folder))
        self._process, printed, self._lifeline, self._requests, self._answers = theirs, *ours
        self._relay = Relay(printed)
        self._watch = threading.Thread(target=self._watched, daemon=True, name="zoo-watch")
        self._watch.start()

    def __enter__(self) -> Child:
        """Return it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process and all that it started."""
        self._end()

    def ask(self, name: str, **arguments: Any) -> None:
        """Ask for something; answers come in the order of the requests.

        Parameters
        ----------
        name : str
            A request that `duties.Duties` knows.
        **arguments
            JSON values.
        """
        with suppress(BrokenPipeError):  # it has ended, which the answer will say
            channel.send(self._requests, {"name": name, **arguments})

    def answer(self) -> Any:
        """Wait for the next answer.

        Returns
        -------
        object
            JSON values; they may be anything that the code wanted them to be.

        Raises
        ------
        ZooError
            What the process raised.
        TargetError
            If it took more than it may, ended, or answered what is no answer.
        """
        while True:
            interrupts.check()
            try:
                said = self._said.get(timeout=_PATIENCE)
                break
            except Empty:
                continue
        if isinstance(said, BaseException):
            self._end()  # what it printed comes before the message
            raise said
        return said

    def refuse(self, reason: object) -> TargetError:
        """Return the error that says that an answer was none."""
        return TargetError(
            f"expected an answer about {self._spec!r}, its process wrote something else ({reason}); "
            "leave out what writes to files that the code did not open"
        )

    def _watched(self) -> None:
        """Pass on what the process says, up to its end or that of the command's patience."""
        try:
            failure: BaseException = self._failure()
        except Exception as error:  # else the command would wait for ever
            failure = error
        self._kill()
        self._said.put(failure)

    def _failure(self) -> BaseException:
        inbox, look_at = channel.Inbox(), 0.0
        while True:
            if select.select([self._answers], [], [], _INTERVAL)[0]:
                data = os.read(self._answers, 1 << 16)
                if not data:
                    return self._ended()
                try:
                    for message in inbox.take(data):
                        self._heard(message)
                except ValueError as error:
                    return self.refuse(error)
            now = time.monotonic()
            if self._step and now - self._since > self._limits.seconds:
                most = f"{self._limits.seconds:g} s"
                return TargetError(
                    f"expected {self._spec!r} to take at most {most} for a step, {self._step!r} took longer; "
                    f"mend the code, or allow more: {SECONDS}={10 * self._limits.seconds:g}"
                )
            if now >= look_at:
                if taken := self._memory_beyond():
                    most, more = as_size(self._limits.memory), 1 + 2 * self._limits.memory // 2**30
                    return TargetError(
                        f"expected {self._spec!r} to take at most {most} of memory, it took {as_size(taken)} "
                        f"(at {self._step or 'rest'!r}); make it smaller, or allow more: {MEMORY}={more}G"
                    )
                done = time.monotonic()
                look_at = done + max(_INTERVAL, 10 * (done - now))

    def _heard(self, message: Mapping[str, Any]) -> None:
        match message:
            case {"step": str(step)}:
                self._step, self._since = plain(step, 80), time.monotonic()
                progress.step(f"{self._spec}: {self._step}")
            case {"done": int(done), "planned": int(planned)} if 0 <= done <= planned < _MOST_BYTES:
                progress.advance_bytes(f"{self._spec}: {self._step}", done, planned)
            case {"answer": answer}:
                self._step = ""
                self._said.put(answer)
            case {"error": values}:
                self._step = ""
                self._said.put(error_from(values, self._spec))
            case _:
                raise ValueError("expected a step, how far it is, an answer or an error")

    def _memory_beyond(self) -> int:
        """Return how much memory it takes, if that is more than it may."""
        from zoo_index.contained import processes

        if processes.resident_memory(self._process.pid) <= self._limits.memory:
            return 0
        taken = processes.shared_once(self._process.pid)
        return taken if taken > self._limits.memory else 0

    def _ended(self) -> TargetError:
        try:
            code = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return self.refuse("it closed the channel")
        what = f"expected {self._spec!r} to build a network, its process"
        when = "before it answered" + (f" (at {self._step!r})" if self._step else "")
        if code >= 0:
            return TargetError(f"{what} ended with exit status {code} {when}; leave out what ends it (os._exit)")
        hint = "; the system sends it where memory runs out" if code == -signal.SIGKILL else ""
        return TargetError(f"{what} was ended by {_signal(-code)} {when}{hint}; mend the code")

    def _kill(self) -> None:
        from zoo_index.contained.processes import end_descendants

        if self._process.poll() is None:
            end_descendants(self._process.pid)
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _end(self) -> None:
        if self._has_ended:
            return
        self._kill()
        self._watch.join(timeout=_LAST_WORDS)
        self._relay.join(timeout=_LAST_WORDS)
        self._has_ended = True
        for descriptor in (self._lifeline, self._requests, self._answers):
            os.close(descriptor)


def _start(folder: str | None) -> tuple[subprocess.Popen[bytes], tuple[int, int, int, int]]:
    """Start the process; return it and our ends: of what it prints, the lifeline, requests and answers."""
    printed, lifeline, requests, answers = (os.pipe() for _ in range(4))
    theirs = {"lifeline": lifeline[0], "requests": requests[0], "answers": answers[1]}
    process = subprocess.Popen(
        command_line(**theirs, folder=folder),
        stdin=subprocess.DEVNULL,
        stdout=printed[1],
        stderr=printed[1],
        pass_fds=tuple(theirs.values()),
        start_new_session=True,
        env=without_secrets(os.environ),
    )
    for descriptor in (printed[1], *theirs.values()):
        os.close(descriptor)
    return process, (printed[0], lifeline[1], requests[1], answers[0])


def _signal(number: int) -> str:
    try:
        return f"{signal.Signals(number).name} ({signal.strsignal(number)})"
    except ValueError:
        return f"signal {number}"
