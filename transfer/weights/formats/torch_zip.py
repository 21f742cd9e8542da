"""What ``torch.save`` writes: a zip archive of one pickle and the bytes of the storages. TorchScript, too.

The format is described in torch/serialization.py and, for TorchScript, in
https://github.com/pytorch/pytorch/blob/main/torch/csrc/jit/docs/serialization.md.
"""

from __future__ import annotations

from typing import Any

from transfer.weights.contents import Contents, RefusedError
from transfer.weights.formats.archive import Archive
from transfer.weights.inert.machine import read_pickle
from transfer.weights.inert.rebuilding import storage_type
from transfer.weights.mapped import Window
from transfer.weights.stored import Storage

__all__ = ["is_torch", "read_archive"]

_MAX_PICKLE = 100_000_000
"""Bytes of names and shapes; what safetensors allows a header."""


def is_torch(archive: Archive) -> bool:
    """Whether an archive is one that torch wrote."""
    return any(member.name.rpartition("/")[2] == "data.pkl" for member in archive)


def read_archive(archive: Archive) -> Contents:
    """Read what an archive holds.

    Parameters
    ----------
    archive : Archive

    Returns
    -------
    Contents

    Raises
    ------
    RefusedError
        If its bytes are of another kind of machine, or compressed.
    Exception
        Of nearly any class, if it is damaged.
    """
    pickled = min((name for name in archive.members if name.rpartition("/")[2] == "data.pkl"), key=len)
    folder = pickled.removesuffix("data.pkl")
    if archive.members[pickled].size > _MAX_PICKLE:
        raise RefusedError(f"more than {_MAX_PICKLE:,} bytes of names and shapes")
    if folder + "byteorder" in archive.members and bytes(archive.view(folder + "byteorder")) != b"little":
        raise RefusedError("numbers of a big-endian machine")
    storages: dict[tuple[str, str], Storage] = {}

    def stored(name: Any) -> Storage:
        what, kind, key, _, n, *_ = name
        dtype, size = storage_type(kind)
        if what != "storage" or type(key) is not str or type(n) is not int:
            raise ValueError("something else than a storage")
        found = storages.get((key, dtype))
        if found is None:
            data = archive.view(f"{folder}data/{key}")
            if not 0 <= n * size <= len(data):
                raise ValueError("a storage that claims more than the file holds")
            found = storages[key, dtype] = Storage(data, n * size, dtype)
        return found

    tree = read_pickle(Window(archive.view(pickled), has_views=True), stored)
    is_program = folder + "constants.pkl" in archive.members
    return Contents("TorchScript" if is_program else "torch", tree)
