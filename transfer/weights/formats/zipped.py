"""Zip archives of weights: by what is in them they are torch's, numpy's or Keras'."""

from __future__ import annotations

from pathlib import Path

from transfer.weights.contents import Contents, RefusedError
from transfer.weights.formats import hdf5, numpy_archive, torch_zip
from transfer.weights.formats.archive import Archive
from transfer.weights.mapped import map_file

__all__ = ["read_file"]


def read_file(path: Path) -> Contents:
    """Read what an archive holds.

    Parameters
    ----------
    path : Path

    Raises
    ------
    RefusedError
        If there are no weights in it that can be read.
    Exception
        Of nearly any class, if it is damaged.
    """
    data = map_file(path)
    archive = Archive(data)
    if torch_zip.is_torch(archive):
        return torch_zip.read_archive(archive)
    if numpy_archive.is_numpy(archive):
        return numpy_archive.read_archive(archive, len(data))
    if hdf5.KERAS_MEMBER in archive.members:
        return hdf5.read_data(archive.view(hdf5.KERAS_MEMBER))
    names = ", ".join(map(repr, list(archive.members)[:4])) or "nothing"
    raise RefusedError(f"an archive with {names}; unpack it, and name the weights file in it")
