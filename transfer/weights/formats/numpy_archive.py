"""numpy's ``.npz``: a zip archive of arrays, as JAX users save their networks."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np

from transfer.weights.contents import Contents, RefusedError
from transfer.weights.formats.archive import Archive, Member
from transfer.weights.inert.arrays import numpy_type
from transfer.weights.layouts import as_torch_has_them
from transfer.weights.mapped import Window
from transfer.weights.stored import ITEM_SIZES, LoadedTensor, Storage, Stored, StoredTensor, contiguous

if TYPE_CHECKING:
    import torch

__all__ = ["is_numpy", "read_archive"]

_MOST_TIMES = 64
"""Unpacked bytes for each byte of a compressed archive: weights hardly compress at all, bombs a thousand times."""


def is_numpy(archive: Archive) -> bool:
    """Whether an archive holds arrays."""
    return any(member.name.endswith(".npy") for member in archive)


def read_archive(archive: Archive, size: int) -> Contents:
    """Read names, shapes and types; a ``/`` in a name becomes a dot.

    Parameters
    ----------
    archive : Archive
    size : int
        Bytes of the archive.

    Returns
    -------
    Contents

    Raises
    ------
    RefusedError
        If it unpacks to far more than it is.
    Exception
        Of nearly any class, if it is damaged.
    """
    members = [member for member in archive if member.name.endswith(".npy")]
    if any(member.is_packed for member in members) and sum(m.size for m in members) > _MOST_TIMES * size:
        raise RefusedError(f"arrays that unpack to more than {_MOST_TIMES} times the file")
    named = {
        member.name.removesuffix(".npy").replace("/", "."): tensor
        for member in members
        if (tensor := _tensor(archive, member)) is not None
    }
    return Contents("numpy", as_torch_has_them(named), is_ordered=list(named) != sorted(named))


def _tensor(archive: Archive, member: Member) -> Stored | None:
    """Describe an array, in place or packed; None of what holds no numbers."""
    start = archive.beginning(member.name)
    file = Window(memoryview(start))
    version = np.lib.format.read_magic(cast(BinaryIO, file))
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, is_fortran, kind = read(cast(BinaryIO, file))
    name = numpy_type(kind.str[1:])
    if name is None:
        return None
    n_bytes = math.prod(shape) * ITEM_SIZES[name]
    if member.size - file.tell() != n_bytes:
        raise ValueError(f"an array {member.name!r} that claims more than the file holds")
    stride = contiguous(shape[::-1])[::-1] if is_fortran else contiguous(shape)
    place = (name, shape, stride, 0, kind.str[0] == ">")
    if member.is_packed:
        return LoadedTensor(shape, name, partial(_unpacked, archive, member.name, file.tell(), place))
    return StoredTensor(Storage(archive.view(member.name)[file.tell() :], n_bytes, name), *place)


def _unpacked(
    archive: Archive, name: str, start: int, place: tuple[str, tuple[int, ...], tuple[int, ...], int, bool]
) -> torch.Tensor:
    data = memoryview(archive.unpacked(name))[start:]
    return StoredTensor(Storage(data, len(data), place[0]), *place).load()
