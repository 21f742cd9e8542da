"""Text that comes from a target, so that a terminal can show it: what steers terminals is spelt out."""

from __future__ import annotations

import codecs
import unicodedata

__all__ = ["Readable", "readable"]


def readable(text: str, *, lines: bool = True) -> str:
    r"""Return a text in which everything but print, tabs and line ends is spelt out, an escape as ``\x1b``.

    Parameters
    ----------
    text : str
    lines : bool
        Whether tabs and line ends stay as they are.
    """
    if text.isprintable():
        return text
    kept = "\n\t" if lines else ""
    return "".join(c if c in kept or _is_shown(c) else ascii(c)[1:-1] for c in text)


def _is_shown(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


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
        return readable(text.replace("\r\n", "\n").replace("\r", "\n"))
