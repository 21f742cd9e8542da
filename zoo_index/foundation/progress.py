"""Progress: one line on stderr that says what is being done, how fast, and how long it will take.

The library tells what it is at, `step` for work that cannot be counted and `advance` for work that can. Nothing
comes of it until the command line opens `shown`, and then only on a terminal and only for what takes longer than
half a second: quick commands do not flicker, and logs of jobs stay as they are. Whatever else prints hides the
line first (`hide`, `beside`).
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TextIO

from zoo_index.foundation.plain_text import plain
from zoo_index.foundation.terminal import can_overwrite, width_of

__all__ = ["advance", "advance_bytes", "beside", "hide", "line_of", "shown", "step"]

_PATIENCE = 0.5
"""Seconds of work before anything is shown."""

_INTERVAL = 0.1
"""Seconds between two drawings."""

_WIDTH_OF_BAR = 20

_CLEAR = "\r\x1b[K"
"""Back to the start of the line, and clear it."""

_BYTES = "bytes"


class _Line:
    """The line, drawn by a thread of its own while there is work to tell of."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._began: float | None = None
        self._phase = ""
        self._since = 0.0
        self._done, self._planned, self._first, self._unit = 0, 0, 0, ""
        self._drawn, self._is_beside_text = "", False
        self._thread = threading.Thread(target=self._run, daemon=True, name="zoo-progress")
        self._thread.start()

    def tell(self, phase: str, done: int, planned: int, unit: str) -> None:
        """Take what is being done; it is drawn in a while."""
        now = time.monotonic()
        with self._lock:
            if self._began is None:
                self._began = now
            if phase != self._phase:
                self._phase, self._since, self._first = phase, now, done
            self._done, self._planned, self._unit = done, planned, unit

    def hide(self) -> None:
        """Clear the line until there is other work."""
        with self._lock:
            self._erase()
            self._began, self._phase = None, ""

    @contextmanager
    def beside(self, text: str) -> Iterator[None]:
        """Make room for a text of somebody else."""
        with self._lock:
            self._erase()
            yield
            self._is_beside_text = bool(text) and not text.endswith("\n")

    def end(self) -> None:
        """Clear the line for good."""
        self._ended.set()
        self._thread.join(timeout=1)
        self.hide()

    def _run(self) -> None:
        while not self._ended.wait(_INTERVAL):
            with self._lock:
                if self._began is not None and time.monotonic() - self._began >= _PATIENCE:
                    self._draw()

    def _draw(self) -> None:
        if self._is_beside_text:  # would be cleared with the line
            return
        seconds = time.monotonic() - self._since
        text = line_of(self._phase, self._done, self._planned, self._first, seconds, is_bytes=self._unit == _BYTES)
        text = plain(text, max(width_of(self._stream) - 1, 10))
        if text != self._drawn:
            self._write(_CLEAR + text)
            self._drawn = text

    def _erase(self) -> None:
        if self._drawn:
            self._write(_CLEAR)
            self._drawn = ""

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # nobody reads it any more
            print(text, end="", file=self._stream, flush=True)


_LINE: _Line | None = None
"""Where progress is shown, if anywhere; one for the process, as its stderr is one."""


@contextmanager
def shown() -> Iterator[None]:
    """Show on stderr what is told inside, if that is a terminal."""
    global _LINE
    if _LINE is not None or not can_overwrite(sys.stderr):
        yield
        return
    _LINE = _Line(sys.stderr)
    try:
        yield
    finally:
        line, _LINE = _LINE, None
        line.end()


def step(what: str) -> None:
    """Tell what is being done now, where nobody can say how much of it there is."""
    if _LINE is not None:
        _LINE.tell(what, 0, 0, "")


def advance(phase: str, done: int, planned: int) -> None:
    """Tell how many items of a phase are done, of how many."""
    if _LINE is not None:
        _LINE.tell(phase, done, planned, "")


def advance_bytes(phase: str, done: int, planned: int) -> None:
    """Tell how many bytes of a phase are done, of how many."""
    if _LINE is not None:
        _LINE.tell(phase, done, planned, _BYTES)


def hide() -> None:
    """Clear the line before something is printed; it comes back with the next work that is told."""
    if _LINE is not None:
        _LINE.hide()


@contextmanager
def beside(text: str) -> Iterator[None]:
    """Make room on stderr for a text that comes while work goes on."""
    with nullcontext() if _LINE is None else _LINE.beside(text):
        yield


def line_of(phase: str, done: int, planned: int, first: int, seconds: float, *, is_bytes: bool = False) -> str:
    """Write what is known of a phase.

    Parameters
    ----------
    phase : str
    done, planned : int
        Of the whole phase; 0 planned where it cannot be counted.
    first : int
        How much was done already when it began: work of an earlier run says nothing about the rate.
    seconds : float
        Since it began.
    is_bytes : bool

    Returns
    -------
    str
        Such as ``fetching weights  [#####     ]  5.2 of 20.8 MB  1.3 MB/s  0:12 left``.
    """
    if planned <= 0:
        return f"{phase} ... {_clock(seconds)}" if seconds >= 1 else f"{phase} ..."
    share = min(done / planned, 1.0)
    bar = "#" * round(_WIDTH_OF_BAR * share)
    parts = [phase, f"[{bar:{_WIDTH_OF_BAR}}]"]
    parts.append(f"{done / 1e6:.1f} of {planned / 1e6:.1f} MB" if is_bytes else f"{done:,} of {planned:,}")
    fresh = done - first
    if fresh > 0 and seconds > 0:
        rate = fresh / seconds
        parts.append(f"{rate / 1e6:.1f} MB/s" if is_bytes else f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.1f}/s")
        parts.append(f"{_clock(max(planned - done, 0) / rate)} left")
    return "  ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
