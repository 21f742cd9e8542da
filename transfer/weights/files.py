"""Opening what is a file, and writing files so that a reader finds the old one or the new one, whole."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from transfer.errors import InputError, OutputError
from transfer.weights.temporaries import beside

__all__ = [
    "cannot_write",
    "check_path",
    "check_writable",
    "open_regular",
    "private_folder",
    "put_in_place",
    "replacing",
]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary file beside `path` to write to; it takes the place of `path` if all goes well.

    What earlier writers of `path` left when they were killed is removed.

    Parameters
    ----------
    path : Path
        In an existing folder; what stands there stays until the new file is complete and on disk.

    Yields
    ------
    Path
        Of an empty file.

    Raises
    ------
    OSError
        If the folder cannot be written, or the disk is full.
    """
    with beside(path) as folder:  # a folder: some writers make temporary files of their own beside what they write
        temporary = folder / path.name
        temporary.touch()
        yield temporary
        put_in_place(temporary, path)


@contextmanager
def private_folder(path: Path) -> Iterator[Path]:
    """Give a folder beside `path`, of one's own, where another process may write; it is removed in the end.

    Parameters
    ----------
    path : Path
        In an existing folder; what is written is brought there by `put_in_place`.

    Yields
    ------
    Path

    Raises
    ------
    OutputError
        If there can be no such folder.
    """
    try:
        with beside(path) as folder:
            yield folder
    except OSError as error:
        raise cannot_write(path, error) from error


def put_in_place(file: Path, path: Path) -> None:
    """Let a file that is complete take the place of `path`, in the same file system, with its permissions.

    Raises
    ------
    OSError
        If the folder cannot be written, or there is something else than a file.
    """
    os.chmod(file, _mode(path))  # only now: some writers put a file of their own in its place
    with open(file, "rb+") as opened:
        os.fsync(opened.fileno())
    if path.exists() and not path.is_file():
        raise FileExistsError(17, "there is a folder, a pipe or a device of that name", str(path))
    os.replace(file, path)


def cannot_write(path: Path, error: Exception) -> OutputError:
    """Return the error that says so."""
    return OutputError(
        f"expected to write '{path}', failed: {getattr(error, 'strerror', None) or error}; "
        "choose another file with --output"
    )


def _mode(path: Path) -> int:
    """Permissions of the file that stands there, else those a new file would get."""
    try:
        return path.stat().st_mode & 0o777
    except OSError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def check_writable(output: Path) -> None:
    """Refuse an output that cannot be written before any work is done.

    Raises
    ------
    OutputError
        If its folder does not exist or cannot be written, or it is a folder or a device itself.
    InputError
        If no file can have that path.
    """
    check_path(output)
    folder = output.parent
    if os.path.isdir(output):  # unlike Path.is_dir, it raises nothing, whatever the name
        raise OutputError(f"expected a file as output, '{output}' is a folder; name a file in it")
    if os.path.exists(output) and not os.path.isfile(output):  # /dev/null would be replaced by a file
        raise OutputError(f"expected a file as output, '{output}' is a pipe or a device; name a file")
    if not os.path.isdir(folder):
        raise OutputError(f"expected an existing folder for the output '{output}', found none; make it first")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"expected to write to '{folder}', it is read-only; choose another file with --output")


def check_path(path: str | os.PathLike[str]) -> None:
    """Refuse a path that no file can have.

    Raises
    ------
    InputError
        If it has a NUL in it.
    """
    if "\0" in os.fspath(path):
        raise InputError(f"expected a path, got {os.fspath(path)!r} with a NUL in it; leave that out")


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading, and nothing else: a pipe would be waited for, a device may never end.

    Raises
    ------
    OSError
        If it cannot be read, or is a folder, a pipe or a device.
    """
    _check_regular(os.stat(path), path)  # before, since opening a device may already do something
    file = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")
    try:
        _check_regular(os.fstat(file.fileno()), path)
    except OSError:
        file.close()
        raise
    return file


def _check_regular(found: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "it is a folder, a pipe or a device", str(path))
