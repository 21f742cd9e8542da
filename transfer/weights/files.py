"""Writing files so that a reader finds the old one or the new one, whole."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transfer.errors import OutputError

__all__ = ["check_writable", "replacing", "write_new"]


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
        os.chmod(name, _mode(path))  # only now: some writers put a file of their own in its place
        with open(name, "rb+") as file:
            os.fsync(file.fileno())
        if path.exists() and not path.is_file():
            raise FileExistsError(17, "there is a folder, a pipe or a device of that name", str(path))
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


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
