"""Zip archives as containers of weights: which members there are, and where their bytes lie in the mapped file."""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, cast

from transfer.weights.contents import RefusedError
from transfer.weights.mapped import Window

__all__ = ["Archive", "Member"]

_LOCAL_HEADER = struct.Struct("<4s22xHH")
"""A signature, what the directory of the archive repeats, the lengths of the name and of extra fields."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member of an archive.

    Parameters
    ----------
    name : str
    size : int
        Bytes, unpacked.
    is_packed : bool
        Whether it is compressed or encrypted.
    """

    name: str
    size: int
    is_packed: bool
    _info: zipfile.ZipInfo


class Archive:
    """The members of a zip archive.

    Parameters
    ----------
    data : memoryview
        The whole archive.

    Raises
    ------
    Exception
        Of nearly any class, if it is damaged.
    """

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._zip = zipfile.ZipFile(cast(BinaryIO, Window(data)))
        self.members = {
            info.filename: Member(
                info.filename,
                info.file_size,
                info.compress_type != zipfile.ZIP_STORED or bool(info.flag_bits & 1),
                info,
            )
            for info in self._zip.infolist()
        }

    def __iter__(self) -> Iterator[Member]:
        """Go through the members in the order of the archive."""
        return iter(self.members.values())

    def view(self, name: str) -> memoryview:
        """Return the bytes of a member that is not packed, where they lie.

        Raises
        ------
        KeyError, ValueError
            If there is none, or it does not lie within the archive.
        RefusedError
            If it is packed.
        """
        member = self.members[name]
        if member.is_packed:
            raise RefusedError("compressed members, which can unpack to any size and which torch.save never writes")
        at = member._info.header_offset
        signature, n_name, n_extra = _LOCAL_HEADER.unpack(self._data[at : at + _LOCAL_HEADER.size])
        start = at + _LOCAL_HEADER.size + n_name + n_extra
        found = self._data[start : start + member.size]
        if signature != b"PK\x03\x04" or len(found) != member.size or not member._info.compress_size == member.size:
            raise ValueError(f"a member {name!r} that is not where the archive says")
        return found

    def beginning(self, name: str, n: int = 10_000) -> bytes:
        """Read the first bytes of a member, unpacking no more than them."""
        with self._zip.open(name) as file:
            return file.read(n)

    def unpacked(self, name: str) -> bytes:
        """Unpack a member; the caller has looked at its size."""
        with self._zip.open(name) as file:
            return file.read(self.members[name].size)
