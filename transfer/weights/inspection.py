"""The first look at a weights file: what lies at a path, before anything parses it."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from transfer.errors import CheckpointError
from transfer.weights.files import open_regular

__all__ = [
    "check_count",
    "damaged",
    "find_file",
    "first_bytes",
    "is_one_checkpoint",
    "is_weights",
    "starts_like_weights",
]

_MAX_TENSORS = 200_000
"""The largest networks have some 20,000; a header of empty tensors could keep what follows busy for long."""

_MAX_HEADER = 100_000_000
"""Bytes; what safetensors allows."""

_INDEXES = (".safetensors.index.json", ".index.json")

_ALONE = (".safetensors", ".bin")
"""Endings of the one weights file in a folder, as hubs lay them out."""

_METADATA = ".metadata"
"""What `torch.distributed.checkpoint` says in a folder of what is in it."""


def find_file(path: Path) -> Path:
    """Return the weights file that a path means: itself, or what says which files a folder has.

    Raises
    ------
    CheckpointError
        If there is neither, or its name is no text.
    """
    _check_is_text(path)
    try:
        if path.is_dir():
            return _index_in(path)
        if path.exists() and not path.is_file():  # reading a pipe would wait for ever
            raise CheckpointError(
                f"expected a weights file, '{path}' is a pipe or a device; save it to a file first"
            )
    except OSError as error:
        raise _unreadable(path, error) from error
    return path


def is_one_checkpoint(folder: Path) -> bool:
    """Whether a folder is one checkpoint of several files, rather than a place of many."""
    try:
        return (folder / _METADATA).is_file() or any(any(folder.glob(f"*{suffix}")) for suffix in _INDEXES)
    except (OSError, ValueError):
        return False


def _check_is_text(path: Path) -> None:
    """Refuse a path that no file can have, or that the readers of files cannot take."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        is_text = False
    else:
        is_text = "\0" not in str(path)
    if not is_text:
        raise CheckpointError(f"expected a weights file whose name is text, got {str(path)!r}; rename it")


def _index_in(folder: Path) -> Path:
    for suffix in _INDEXES:  # where there are several formats, the one that needs no unpickling
        found = sorted(folder.glob(f"*{suffix}"))
        if len(found) > 1:
            names = ", ".join(repr(file.name) for file in found)
            raise CheckpointError(f"expected one index of shards, folder '{folder}' holds {names}; name the file")
        if found:
            return found[0]
    if (folder / _METADATA).is_file():
        return folder / _METADATA
    for suffix in _ALONE:
        files = sorted(folder.glob(f"*{suffix}"))
        if len(files) == 1:
            return files[0]
    raise CheckpointError(f"expected a weights file, '{folder}' is a folder; name the file in it")


def first_bytes(path: Path) -> bytes:
    """Read the first nine bytes, which tell the format.

    Raises
    ------
    CheckpointError
        If there is no readable file, or it is empty.
    """
    try:
        with open_regular(path) as file:
            start = file.read(9)
    except FileNotFoundError:
        raise CheckpointError(f"expected a weights file, found nothing at '{path}'; check the path") from None
    except OSError as error:
        raise _unreadable(path, error) from error
    if not start:
        raise CheckpointError(f"expected a weights file, got an empty file '{path}'; download it again")
    return start


def check_count(n: int, path: Path) -> None:
    """Refuse more tensors than any network has, before anything is done with each of them.

    Raises
    ------
    CheckpointError
    """
    if n > _MAX_TENSORS:
        raise CheckpointError(
            f"expected at most {_MAX_TENSORS:,} tensors in '{path}', got {n:,}; do not trust this file"
        )


def _unreadable(path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(
        f"expected a readable weights file at '{path}', got: {error.strerror or error}; "
        "check the path and its permissions"
    )


def damaged(path: Path, error: Exception) -> CheckpointError:
    """Return the error for a file that a format's own reader gave up on."""
    detail = ": ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])[:200]
    return CheckpointError(
        f"expected a whole weights file, '{path}' is damaged, cut off or something else ({detail}); download it "
        "again, or check what it is"
    )


def starts_like_weights(start: bytes) -> bool:
    """Whether a file that begins so (some ten bytes) can be a safetensors or a torch file."""
    return start[8:9] == b"{" or start.startswith(b"PK\x03\x04") or (start[:1] == b"\x80" and start[1:2] <= b"\x05")


def is_weights(path: Path) -> bool:
    """Whether a file can be weights, by a cheap look: a web page is none, nor is a file that is cut off.

    Of a safetensors file the header is read, which says how long the file is; of a torch file, which is a zip
    archive, the directory at its end; a torch file of the older kind only shows how it begins.
    """
    try:
        size = path.stat().st_size
        with open_regular(path) as file:
            start = file.read(9)
            if not starts_like_weights(start):
                return False
            if start[8:] != b"{":
                return start[:1] == b"\x80" or zipfile.is_zipfile(file)
            n_header = int.from_bytes(start[:8], "little")
            if n_header > min(_MAX_HEADER, size - 8):
                return False
            file.seek(8)
            header = json.loads(file.read(n_header))
        ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
        return bool(8 + n_header + max(ends, default=0) == size)
    except (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return False
