"""The layout of a vector file, checked before faiss reads it: some damaged files end the process that reads them.

Only what `vectors.build` makes is let through: vectors with ids, either all in a row or in lists. Every count in
the file must agree with every other one and with the size of the file; the vectors themselves are not looked at.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

from transfer.weights.files import open_regular

__all__ = ["check_layout"]

_HEADER = struct.Struct("<4siqqqBi")
"""Kind, width, number of vectors, two that say nothing, whether it is trained, the metric."""

_INNER_PRODUCT = 0
_FLOAT, _ID = 4, 8
"""Bytes."""


def check_layout(path: Path) -> int:
    """Check what a vector file claims against its size.

    Parameters
    ----------
    path : Path

    Returns
    -------
    int
        Width of the vectors.

    Raises
    ------
    ValueError
        If faiss would read something else than vectors with ids, or beyond the end.
    OSError
        If it cannot be read.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        width, n, _ = _header(file, b"IxM2")
        inner = _header(file, b"IxFI", b"IwFl")
        _expect(inner[:2] == (width, n), "as many vectors within as outside")
        if inner[2] == b"IxFI":
            _skip_vectors(file, width, n, size)
        else:
            _skip_lists(file, width, n, size)
        _expect(_count(file) == n and size - file.tell() == n * _ID, "an id for each vector, and nothing more")
    return width


def _header(file: BinaryIO, *kinds: bytes) -> tuple[int, int, bytes]:
    """Read width, number of vectors, and the kind of an index."""
    kind, width, n, _, _, is_trained, metric = _HEADER.unpack(_exactly(file, _HEADER.size))
    _expect(kind in kinds and is_trained == 1 and metric == _INNER_PRODUCT, "an index of inner products")
    _expect(width > 0 and n >= 0, "a width and a number of vectors")
    return width, n, kind


def _skip_vectors(file: BinaryIO, width: int, n: int, size: int) -> None:
    _expect(_count(file) == width * n and file.tell() + width * n * _FLOAT <= size, "all vectors in the file")
    file.seek(width * n * _FLOAT, os.SEEK_CUR)


def _skip_lists(file: BinaryIO, width: int, n: int, size: int) -> None:
    n_lists, n_probed = _count(file), _count(file)
    _expect(0 < n_probed <= n_lists <= size, "lists, of which some are searched")
    found = _header(file, b"IxFI")
    _expect(found[:2] == (width, n_lists), "a centre for each list")
    _skip_vectors(file, width, n_lists, size)
    _expect(_exactly(file, 9) == bytes(9), "no map from ids to lists")
    told = (_exactly(file, 4), _count(file), _count(file), _exactly(file, 4), _count(file))
    _expect(told == (b"ilar", n_lists, width * _FLOAT, b"full", n_lists), "the lists one after the other")
    sizes = struct.unpack(f"<{n_lists}Q", _exactly(file, n_lists * 8))
    n_bytes = n * (width * _FLOAT + _ID)
    _expect(sum(sizes) == n and file.tell() + n_bytes <= size, "every vector in a list")
    file.seek(n_bytes, os.SEEK_CUR)


def _count(file: BinaryIO) -> int:
    return int.from_bytes(_exactly(file, 8), "little")


def _exactly(file: BinaryIO, n: int) -> bytes:
    found = file.read(n)
    _expect(len(found) == n, "more bytes")
    return found


def _expect(is_so: bool, what: str) -> None:
    if not is_so:
        raise ValueError(f"expected {what} in a vector file")
