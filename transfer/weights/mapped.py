"""Bytes of a file in memory: mapped, and read from as from a file."""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path

from transfer.weights.files import open_regular

__all__ = ["Window", "map_file"]


def map_file(path: Path) -> memoryview:
    """Map a file into memory, privately: what is written to it reaches nobody.

    Parameters
    ----------
    path : Path
        Of a file that is not empty.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with open_regular(path) as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))


class Window:
    """Bytes in memory as a file to read from.

    Parameters
    ----------
    data : memoryview
    has_views : bool
        Whether what is large is read as a view instead of a copy, for readers that can do with one.
    """

    _LARGE = 1 << 16

    def __init__(self, data: memoryview, *, has_views: bool = False) -> None:
        self._data, self._at, self._has_views = data, 0, has_views

    def read(self, n: int = -1) -> bytes | memoryview:
        """Read `n` bytes, or what there is."""
        end = len(self._data) if n < 0 else min(self._at + n, len(self._data))
        found = self._data[self._at : end]
        self._at = max(self._at, end)
        return found if self._has_views and len(found) > self._LARGE else bytes(found)

    def readline(self) -> bytes:
        """Read up to the end of a line."""
        pieces = []
        while piece := bytes(self._data[self._at : self._at + self._LARGE]):
            line, end, _ = piece.partition(b"\n")
            pieces.append(line + end)
            self._at += len(line) + len(end)
            if end:
                break
        return b"".join(pieces)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: len(self._data)}[whence]
        if start + offset < 0:
            raise OSError(errno.EINVAL, "a place before the beginning")
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        """Return the place."""
        return self._at

    def seekable(self) -> bool:
        """Whether places can be gone to."""
        return True
