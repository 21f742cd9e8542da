"""A pack is put in its place: weights of hubs where their libraries look for them, others in a folder of their own.

Whoever made a pack need not be trusted: of its index only what is of no machine is taken, and of files of one's own
only weights.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from transfer.errors import CheckpointError, InputError, OutputError
from transfer.weights.files import open_regular, put_in_place
from transfer.weights.indexes import INDEX, is_below
from transfer.weights.strict_json import read_json
from zoo_index.errors import IndexFileError
from zoo_index.foundation.progress import advance_bytes
from zoo_index.hub.availability import hub_cache, parts_of, torch_cache
from zoo_index.index.pack_format import (
    CONFIGURATION,
    FORMAT,
    MANIFEST,
    METADATA,
    PIECE,
    PackedFile,
    copy_index,
    own_folder,
)

if TYPE_CHECKING:
    from zoo_index.database.store import Store


__all__ = ["Unpacked", "unpack"]

_MOST_MANIFEST = 64 << 20


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What was unpacked.

    Parameters
    ----------
    entries : tuple of str
    n_files : int
        Those that were not here.
    has_index : bool
        Whether the index of the pack was taken; not where there was one.
    has_own : bool
        Whether there are files of nobody's hub, which lie in `own_folder`.
    """

    entries: tuple[str, ...]
    n_files: int
    has_index: bool
    has_own: bool


def unpack(store: Store, file: Path) -> Unpacked:
    """Put the files of a pack where they are looked for; what is here already stays.

    Parameters
    ----------
    store : Store
        Gets the index of the pack, if it is a file and there is none.
    file : Path

    Returns
    -------
    Unpacked

    Raises
    ------
    InputError
        If it is no pack, or a damaged one; files that were whole are here then.
    OutputError
        If a file cannot be written.
    """
    roots = {"hub": hub_cache(), "torch": torch_cache()}
    n_new, has_index = 0, False
    try:
        with open_regular(file) as opened, tarfile.open(fileobj=opened, mode="r:") as archive:
            names, files = _manifest(archive)
            own = [told for told in files if told.root == "own"]
            for told in files:
                if told.root == "index":
                    has_index = _take_index(archive, told, store) or has_index
                elif told.root != "own":
                    n_new += _put(archive, told, roots[told.root] / told.place)
            n_new += _put_own(archive, own)
    except InputError:
        raise
    except (tarfile.TarError, LookupError, ValueError, TypeError, EOFError, RecursionError) as error:
        raise InputError(
            f"expected a whole pack (zoo pack) at '{file}', got {type(error).__name__}: {error}; copy it again"
        ) from error
    except FileNotFoundError as error:
        raise InputError(f"expected a pack at '{file}', got: {error.strerror}; check the path") from error
    except OSError as error:
        raise OutputError(
            f"expected to unpack '{file}', got: {error.strerror or error} ({error.filename or file})"
        ) from error
    return Unpacked(tuple(names), n_new, has_index, bool(own))


def _manifest(archive: tarfile.TarFile) -> tuple[list[str], list[PackedFile]]:
    """Read what a pack says is in it; nothing may lead out of its folder."""
    told = read_json(_member(archive, MANIFEST).read(_MOST_MANIFEST))
    if told["format"] != FORMAT:
        raise ValueError(f"a pack of format {told['format']!r:.20}, made by a newer version")
    files = [PackedFile(**one) for one in told["files"]]
    for one in files:
        texts = (one.member, one.place, one.sha256)
        is_sound = all(isinstance(text, str) for text in texts) and type(one.n_bytes) is int
        if not is_sound or not is_below(one.place) or one.root not in ("hub", "torch", "own", "index"):
            raise ValueError("a file that leads elsewhere")
    if not all(isinstance(name, str) for name in told["entries"]):
        raise ValueError("entries without names")
    return list(told["entries"]), files


def _member(archive: tarfile.TarFile, name: str, n_bytes: int | None = None) -> IO[bytes]:
    """Open a file of a pack, unless it has holes or another size than was told: it may grow as it is written."""
    found = archive.getmember(name)
    opened = archive.extractfile(found) if found.isreg() and not found.issparse() else None
    if opened is None:
        raise ValueError(f"{name} is no plain file")
    if n_bytes is not None and found.size != n_bytes:
        raise ValueError(f"{name} has {found.size} bytes, not {n_bytes}")
    return opened


def _write(archive: tarfile.TarFile, told: PackedFile, place: Path) -> None:
    """Write a file of a pack, and check it."""
    member = _member(archive, told.member, told.n_bytes)
    made = hashlib.sha256()
    with place.open("xb") as opened:
        n_written = 0
        while piece := member.read(PIECE):
            made.update(piece)
            n_written += opened.write(piece)
            advance_bytes(f"unpacking {place.name}", n_written, told.n_bytes)
    if made.hexdigest() != told.sha256:
        raise ValueError(f"{told.member} is damaged")


@contextmanager
def _beside(place: Path) -> Iterator[Path]:
    """Give a folder for what is not checked yet, in a file system with a place; no catalogue looks into it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".unpacking-") as folder:
        yield Path(folder)


def _put(archive: tarfile.TarFile, told: PackedFile, place: Path) -> bool:
    """Write a file that is not here yet, and check it before it takes its place; return whether it was written."""
    if os.path.exists(place):
        return False
    with _beside(place) as folder:
        _write(archive, told, folder / place.name)
        put_in_place(folder / place.name, place)
    return True


def _take_index(archive: tarfile.TarFile, told: PackedFile, store: Store) -> bool:
    """Let a store that has no index get that of a pack; return whether it was taken."""
    from zoo_index.database.sqlite import SqliteStore

    if not isinstance(store, SqliteStore) or store.exists():
        return False
    with _beside(store.path) as folder:
        _write(archive, told, folder / "theirs")
        theirs = SqliteStore(folder / "theirs")
        try:
            copy_index(theirs, folder / store.path.name)
        except IndexFileError as error:
            raise InputError(
                f"expected an index that can be read in the pack, got: {error}; ask for another pack"
            ) from error
        finally:
            theirs.close()
        put_in_place(folder / store.path.name, store.path)
    return True


def _put_own(archive: tarfile.TarFile, files: Sequence[PackedFile]) -> int:
    """Write files of one's own that are not here yet, if they are weights; return how many were written."""
    root = own_folder()
    missing = {told.place for told in files if not os.path.exists(root / told.place)}
    folders = {Path(place).parts[0] for place in missing}
    if not missing:
        return 0
    with _beside(root / MANIFEST) as scratch:
        for told in files:
            if Path(told.place).parts[0] in folders:  # what is here already is part of what is checked
                (scratch / told.place).parent.mkdir(parents=True, exist_ok=True)
                _write(archive, told, scratch / told.place)
        _check_weights(scratch)
        for place in sorted(missing):
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            put_in_place(scratch / place, root / place)
    return len(missing)


def _check_weights(root: Path) -> None:
    """Refuse files that are neither weights, nor parts of weights, nor the configuration beside weights.

    Raises
    ------
    CheckpointError
        For the first that is none.
    """
    from transfer.weights.checkpoint import open_checkpoint

    left = {file for file in root.rglob("*") if file.is_file() and file.name != CONFIGURATION}
    wholes = sorted(file for file in left if file.name == METADATA or file.name.endswith(INDEX))
    for whole in wholes:
        left -= set(parts_of(whole))
    for file in [*wholes, *sorted(left)]:
        try:
            open_checkpoint(file)
        except CheckpointError as error:
            raise InputError(
                f"expected weights in the pack, {file.relative_to(root).as_posix()!r} is none: "
                f"{str(error).replace(f'{root}{os.sep}', '')}"
            ) from error
