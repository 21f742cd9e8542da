"""Pickles that stand by themselves: what ``torch.save`` wrote until version 1.5, and what ``pickle.dump`` writes.

A torch file of that kind is five pickles (a magic number, a version, the system, what was saved, the names of the
storages), followed by the bytes of the storages.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path
from typing import Any

from transfer.weights.contents import Contents
from transfer.weights.inert.machine import read_pickle
from transfer.weights.inert.rebuilding import storage_type
from transfer.weights.mapped import Window, map_file
from transfer.weights.stored import Storage

__all__ = ["read_file", "read_storage", "starts_so"]

_MAGIC = 0x1950A86A20F9469CFC6C
_COUNT = struct.Struct("<q")
_OLDEST = re.compile(rb"\([dl]p\d+\n|[]}]q\0|ccollecti")
"""How dicts and lists begin in protocols 0 and 1."""


def starts_so(path: Path, start: bytes) -> bool:
    """Whether a file begins as pickles do; the oldest ones are also known by their names.

    Parameters
    ----------
    path : Path
    start : bytes
    """
    is_known = (start[:1] == b"\x80" and start[1:2] <= b"\x05") or _OLDEST.match(start) is not None
    return is_known or path.suffix in (".pkl", ".pickle")


def read_file(path: Path) -> Contents:
    """Read what a file of pickles holds.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Contents

    Raises
    ------
    Exception
        Of nearly any class, if it is damaged.
    """
    return _read(map_file(path))


def _read(data: memoryview, *, has_calls: bool = True) -> Contents:
    file = Window(data, has_views=True)
    content = read_pickle(file, has_calls=has_calls)
    if content != _MAGIC:
        return Contents("pickle", content)
    for _ in range(2):
        read_pickle(file, has_calls=has_calls)
    waiting = _Waiting()
    tree = read_pickle(file, waiting.stored, has_calls=has_calls)
    waiting.give(file, data)
    return Contents("torch (before 1.6)", tree)


def read_storage(data: bytes | memoryview) -> Storage:
    """Read a storage that was saved by itself, as tensors in a pickle of Python's own are.

    Parameters
    ----------
    data : bytes or memoryview

    Raises
    ------
    ValueError
        If it is something else.
    """
    tree = _read(memoryview(data), has_calls=False).tree  # nested in one another, calls could take for ever
    if not isinstance(tree, Storage):
        raise ValueError("something else than a storage")
    return tree


class _Waiting:
    """Storages that the pickle names, whose bytes come after it."""

    def __init__(self) -> None:
        self._roots: dict[str, tuple[Storage, int]] = {}
        self._parts: list[tuple[Storage, Storage, int]] = []

    def stored(self, name: Any) -> Any:
        """Make the storage of a name; the class of a module that was saved with its source is itself."""
        if name[0] == "module":
            return name[1]
        what, kind, key, _, n, view = name
        dtype, size = storage_type(kind)
        if what != "storage" or type(key) is not str or type(n) is not int or n < 0:
            raise ValueError("something else than a storage")
        if key not in self._roots:
            self._roots[key] = Storage(memoryview(b""), n * size, dtype), size
        root = self._roots[key][0]
        if view is None:
            return root
        _, first, n_part = view
        if type(first) is not int or type(n_part) is not int or not 0 <= first <= first + n_part <= n:
            raise ValueError("a part of a storage that lies outside of it")
        part = Storage(memoryview(b""), n_part * size, dtype)
        self._parts.append((part, root, first * size))
        return part

    def give(self, file: Window, data: memoryview) -> None:
        """Give all of them their bytes, from the file that has been read up to the names."""
        for key in read_pickle(file):
            if type(key) is not str:  # the hash of anything else could take for ever
                raise ValueError("a storage without a name")
            storage, size = self._roots[key]
            start = file.tell() + _COUNT.size
            (n,) = _COUNT.unpack(file.read(_COUNT.size))
            found = data[start : start + n * size]
            if n * size != storage.n_bytes or len(found) != storage.n_bytes:
                raise ValueError("a storage that claims more than the file holds")
            storage.data = found
            file.seek(start + n * size)
        if any(storage.n_bytes != len(storage.data) for storage, _ in self._roots.values()):
            raise ValueError("a storage without bytes")
        for part, root, start in self._parts:
            part.data = root.data[start : start + part.n_bytes]
