"""What runs in a worker process: read items, call the function, write what came of it; end with the parent.

Frames go over the pipes that were standard input and output; whatever the function prints goes to standard
error. Nothing here imports more than the standard library: the function brings the rest.
"""

from __future__ import annotations

import os
import pickle
import queue
import signal
import struct
import sys
import threading
from select import select
from typing import Any

from zoo_index.engines.engine import text_of

__all__ = ["DONE", "RAISED", "READY", "UNFIT", "UNSENT", "main", "read_frame", "write_frame"]

READY, UNFIT, DONE, RAISED, UNSENT = b"+", b"!", b"=", b"x", b"?"
"""First byte of an answer: started, cannot start, a packed value, text of an error, a value that cannot be sent."""

_HEADER = struct.Struct("<Q")
_PIECE = 1 << 20
_LOOK_SECONDS = 1.0
"""How often a worker looks whether its parent is still there, should nothing else tell."""


def write_frame(pipe: int, *parts: bytes) -> None:
    """Write one frame; parts are joined."""
    for part in (_HEADER.pack(sum(map(len, parts))), *parts):
        view = memoryview(part)
        while view:
            view = view[os.write(pipe, view[:_PIECE]) :]


def read_frame(pipe: int) -> bytes | None:
    """Read one frame; None where the other end is gone."""
    header = _read(pipe, _HEADER.size)
    return None if header is None else _read(pipe, _HEADER.unpack(header)[0])


def _read(pipe: int, size: int) -> bytes | None:
    pieces = []
    while size:
        piece = os.read(pipe, min(size, _PIECE))
        if not piece:
            return None
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def main() -> None:
    """Serve items until the parent is gone; arguments: the lifeline, and seconds without work to live for."""
    parent = os.getppid()
    lifeline, idle = int(sys.argv[1]), float(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt ends
    _end_with(lifeline)
    inbox, outbox = os.dup(0), os.dup(1)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    frames: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(inbox, parent, frames), daemon=True).start()
    try:
        function, prepare = pickle.loads(frames.get())
        if prepare is not None:
            prepare()
    except BaseException as error:
        write_frame(outbox, UNFIT, text_of(error).encode(errors="replace"))
        os._exit(1)
    write_frame(outbox, READY)
    while True:
        try:
            payload = frames.get(timeout=idle or None)
        except queue.Empty:
            os._exit(0)
        write_frame(outbox, *_answer(function, payload))


def _answer(function: Any, payload: bytes) -> tuple[bytes, bytes]:
    try:
        item = pickle.loads(payload)
    except BaseException as error:
        return UNSENT, f"a worker cannot read it: {text_of(error)}".encode(errors="replace")
    try:
        value = function(item)
    except BaseException as error:  # also what asks for the end of the program
        return RAISED, text_of(error).encode(errors="replace")
    try:
        return DONE, pickle.dumps(value)
    except BaseException as error:
        return UNSENT, f"its result cannot be sent: {text_of(error)}".encode(errors="replace")


def _end_with(lifeline: int) -> None:
    """Have the kernel kill this process and its children when the parent's end of a pipe is closed.

    A thread notices that as well, but not while foreign code holds the interpreter's lock.
    """
    if sys.platform != "linux":
        return
    import fcntl

    fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)


def _listen(inbox: int, parent: int, frames: queue.SimpleQueue[bytes]) -> None:
    while True:
        # a process that the parent forked may hold the other end of the pipe, so that it never ends
        while os.name == "posix" and not select([inbox], [], [], _LOOK_SECONDS)[0]:
            if os.getppid() != parent:
                os._exit(1)
        frame = read_frame(inbox)
        if frame is None:
            os._exit(1)
        frames.put(frame)
