"""What a target prints goes to the command's stderr, up to a limit; the rest is read and dropped."""

from __future__ import annotations

import codecs
import os
import sys
import threading

from zoo_index.contained.limits import MOST_OUTPUT, as_size
from zoo_index.foundation.plain_text import plain_lines
from zoo_index.foundation.progress import beside

__all__ = ["Readable", "Relay"]

_LEFT_OUT = f"(zoo: the target prints more than {as_size(MOST_OUTPUT)}, the rest is left out)\n"


class Relay(threading.Thread):
    """Reads a pipe to its end.

    Parameters
    ----------
    descriptor : int
        Closed in the end.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__(daemon=True, name="zoo-relay")
        self._descriptor = descriptor
        self.start()

    def run(self) -> None:
        """Read until nobody writes any more."""
        shown, spelt, ended = 0, Readable(), True
        while data := os.read(self._descriptor, 1 << 16):
            if shown >= MOST_OUTPUT:
                continue
            text = spelt(data[: MOST_OUTPUT - shown])
            shown += len(data)
            ended = text.endswith("\n") if text else ended
            if shown >= MOST_OUTPUT:
                text += ("" if ended else "\n") + _LEFT_OUT
                ended = True
            _show(text)
        _show(spelt(b"", is_last=True) + ("" if ended else "\n"))
        os.close(self._descriptor)


def _show(text: str) -> None:
    try:
        with beside(text):
            sys.stderr.write(text)
            sys.stderr.flush()
    except (AttributeError, OSError, ValueError):  # nobody reads it, or there is none
        pass


class Readable:
    """Makes readable text of bytes that come in pieces; a carriage return, as of progress bars, ends a line."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
        self._ended = False

    def __call__(self, data: bytes, *, is_last: bool = False) -> str:
        """Return the text of the next piece."""
        text = self._decoder.decode(data, is_last)
        if text:
            rest = text[1:] if self._ended and text[0] == "\n" else text
            self._ended, text = text[-1] == "\r", rest
        return plain_lines(text.replace("\r\n", "\n").replace("\r", "\n"))
