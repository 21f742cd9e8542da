"""Writing files so that a reader finds the old one or the new one, whole."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transfer.errors import OutputError

__all__ = ["cannot_write", "check_writable", "private_folder", "put_in_place", "replacing", "write_new"]


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary file beside `path` to write to; it takes the place of `path` if all goes well.

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
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    try:
        yield Path(name)
        put_in_place(Path(name), path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


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
        folder = tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
    """
    folder = output.parent
    if os.path.isdir(output):  # unlike Path.is_dir, it raises nothing, whatever the name
        raise OutputError(f"expected a file as output, '{output}' is a folder; name a file in it")
    if os.path.exists(output) and not os.path.isfile(output):  # /dev/null would be replaced by a file
        raise OutputError(f"expected a file as output, '{output}' is a pipe or a device; name a file")
    if not os.path.isdir(folder):
        raise OutputError(f"expected an existing folder for the output '{output}', found none; make it first")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"expected to write to '{folder}', it is read-only; choose another file with --output")


def write_new(path: Path, data: bytes) -> bool:
    """Write a file where nothing is; of several processes that try, one succeeds.

    Returns
    -------
    bool
        False if something stood there, which is left as it is.

    Raises
    ------
    OSError
        If the folder cannot be written, or the disk is full.
    """
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, _mode(path))
        os.link(name, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(name)
    return True
