"""The process that runs a target's code: it takes requests one by one and answers them."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from typing import Any

from zoo_index.contained import channel
from zoo_index.contained.failures import error_values

__all__ = ["serve"]

_INTERVAL = 0.2
"""Seconds between two words on how far a step is."""


def serve(requests: int, answers: int) -> None:
    """Answer requests until no more come.

    Parameters
    ----------
    requests, answers : int
        Descriptors of the channel.
    """
    me, shown = os.getpid(), (sys.stdout, sys.stderr)
    for stream in shown:
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    sys.argv = ["zoo"]
    for descriptor in (requests, answers):
        os.set_inheritable(descriptor, False)
    os.register_at_fork(after_in_child=lambda: _close(requests, answers))

    def send(message: dict[str, Any]) -> None:
        if os.getpid() != me:  # a fork that came back out of the code: the answer is not its to give
            os._exit(0)
        try:
            channel.send(answers, message)
        except OSError:  # the command has ended, or the code closed the channel
            os._exit(1)

    def step(name: str) -> None:
        send({"step": name})

    said = 0.0

    def advance(done: int, planned: int) -> None:
        nonlocal said
        now = time.monotonic()
        if now - said >= _INTERVAL:
            said = now
            send({"done": done, "planned": planned})

    from zoo_index.contained.duties import Duties

    duties = Duties(step, advance)
    step("")
    while (request := channel.receive(requests)) is not None:
        try:
            answer = {"answer": duties.do(request)}
        except BaseException as error:
            answer = {"error": error_values(error)}
        if os.getpid() == me:
            _flush(*shown)
        try:
            send(answer)
        except (TypeError, ValueError) as error:  # what JSON cannot hold, or too much
            send({"error": error_values(error)})


def _close(*descriptors: int) -> None:
    for descriptor in descriptors:
        with suppress(OSError):
            os.close(descriptor)


def _flush(*streams: Any) -> None:
    """Let out what the code printed, in Python or in C, before it is killed."""
    import ctypes

    for stream in (*streams, sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    with suppress(Exception):
        ctypes.CDLL(None).fflush(None)
