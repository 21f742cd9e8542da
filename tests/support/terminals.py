"""The command line on a terminal: a real one, whose other end the test reads."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import termios
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from forked_cli import become

__all__ = ["on_screen", "read_all", "run_in_terminal", "set_width"]

PLAIN = {"TERM": "xterm-256color", "NO_COLOR": "", "FORCE_COLOR": "", "COLUMNS": ""}
"""What decides about colours and widths, whatever runs the tests."""


def set_width(descriptor: int, columns: int) -> None:
    """Make a terminal so many columns wide."""
    fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))


def run_in_terminal(
    *arguments: str,
    columns: int = 80,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    before: Callable[[], object] | None = None,
) -> tuple[int, str]:
    """Run the command line with stdout and stderr on one terminal; return its exit status and all that it sent."""
    ours, theirs = pty.openpty()
    set_width(ours, columns)
    child = os.fork()
    if child == 0:
        os.close(ours)
        become(arguments, theirs, theirs, cwd, {**PLAIN, **(environment or {})}, before, 120.0)
    os.close(theirs)
    sent = read_all(ours)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), sent


def read_all(descriptor: int, until: str = "", seconds: float = 120.0) -> str:
    """Read a terminal up to a text, or to its end, and close it in the latter case."""
    data, end = b"", time.monotonic() + seconds
    while time.monotonic() < end:
        if select.select([descriptor], [], [], 0.5)[0]:
            try:
                piece = os.read(descriptor, 1 << 16)
            except OSError:  # Linux says so when the other end is closed
                piece = b""
            if not piece:
                os.close(descriptor)
                break
            data += piece
            data = data.replace(b"\a", b"")  # the bell
            if until and until in data.decode(errors="replace"):
                break
    return data.decode(errors="replace").replace("\r\n", "\n")


def on_screen(sent: str) -> list[str]:
    """Return the lines that are left on the screen: what was written over is gone, colours are left out."""
    lines = []
    for line in re.sub(r"\x1b\[[0-9;]*m", "", sent).split("\n"):
        lines.append(line.rpartition("\r\x1b[K")[2])
    return lines
