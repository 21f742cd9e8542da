"""The standard streams of the command: usable whatever the shell made of them, and left in peace at the end."""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
import traceback
from types import TracebackType
from typing import TextIO

from zoo_index.foundation.plain_text import plain

__all__ = ["are_cut", "finish", "prepare"]


def prepare() -> None:
    """Open streams that are closed (``>&-``), and print what their encoding lacks as escapes.

    A closed one would lend its number to the next file that is opened, e.g. the database, and have messages
    written into it. Tracebacks, which quote foreign text, are printed as plain text, too.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            _open_at(number)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))
        elif mode == "w" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.excepthook = _show_traceback


def _open_at(number: int) -> None:
    opened = os.open(os.devnull, os.O_RDWR)
    if opened != number:
        os.dup2(opened, number)
        os.close(opened)


def _show_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    text = "".join(traceback.format_exception(kind, error, trace))
    with contextlib.suppress(OSError):
        print("\n".join(plain(line) for line in text.splitlines()), file=sys.stderr)


def are_cut() -> bool:
    """Whether the reader of stdout or stderr has gone, as in ``zoo list | head -1``."""
    if not hasattr(select, "poll"):
        return False
    streams = select.poll()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # one that is no file cannot be cut
            streams.register(stream.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in streams.poll(0))


def finish() -> None:
    """Write what is still held back; where nobody reads it, drop it.

    Raises
    ------
    OSError
        If it cannot be written for another reason, e.g. a full disk.
    """
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        pass
    except OSError:
        _forget(sys.stdout)
        raise
    if are_cut():
        _forget(sys.stdout)
        _forget(sys.stderr)


def _forget(stream: TextIO) -> None:
    """Lead a stream nowhere, so that the interpreter's own last attempt to write fails no more."""
    with contextlib.suppress(OSError, ValueError):
        _open_at(stream.fileno())
