"""Weights and index in one file, for machines without a network: packed on one, unpacked on another.

A pack is a tar archive: ``manifest.json`` says what is in it, with a SHA-256 of every file. Weights of hubs go
where their libraries look for them; files of one's own go to a folder, which is added to the index. Whoever made a
pack need not be trusted: of its index only what is of no machine is taken, and of files of one's own only weights.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal

from transfer.errors import CheckpointError, InputError, OutputError
from transfer.weights.files import check_writable, open_regular, put_in_place, replacing
from transfer.weights.indexes import INDEX, is_below
from transfer.weights.inspection import is_one_checkpoint
from transfer.weights.strict_json import read_json
from zoo_index.errors import IndexFileError
from zoo_index.hub.availability import hub_cache, parts_of, shards_of, torch_cache
from zoo_index.hub.fetching import fetch

if TYPE_CHECKING:
    from zoo_index.database.store import Store

__all__ = ["Packed", "Unpacked", "own_folder", "pack", "unpack"]

_FORMAT = 1
_MANIFEST, _INDEX_MEMBER = "manifest.json", "index.sqlite"
_CONFIGURATION, _METADATA = "config.json", ".metadata"
_MOST_MANIFEST = 64 << 20
_PIECE = 1 << 20

Root = Literal["hub", "torch", "own", "index"]


@dataclass(frozen=True, slots=True)
class _File:
    """A file of a pack, and where it goes: below which folder, under which path."""

    member: str
    root: Root
    place: str
    n_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Packed:
    """What was packed.

    Parameters
    ----------
    output : str
    entries : tuple of str
    n_files, n_bytes : int
    """

    output: str
    entries: tuple[str, ...]
    n_files: int
    n_bytes: int


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


def own_folder() -> Path:
    """Return the folder of unpacked weights that are of no hub."""
    from platformdirs import user_data_path

    return Path(os.environ.get("ZOO_PACKED") or user_data_path("zoo") / "packed")


def pack(store: Store, entries: Sequence[Mapping[str, Any]], output: Path) -> Packed:
    """Write weights and the index to one file; weights that are not here are fetched first.

    Parameters
    ----------
    store : Store
    entries : sequence of mapping
    output : Path
        Replaced whole or not at all.

    Returns
    -------
    Packed

    Raises
    ------
    WeightsUnavailableError
        If weights cannot be had.
    OutputError
        If the file cannot be written.
    """
    check_writable(output)
    found = [(entry, fetch(entry)) for entry in entries]
    with tempfile.TemporaryDirectory() as scratch:
        index = Path(scratch) / _INDEX_MEMBER
        _copy_index(store, index)
        sources = [(index, _described(index, _INDEX_MEMBER, "index", _INDEX_MEMBER))]
        for i, (entry, path) in enumerate(found):
            sources += [
                (file, _described(file, f"weights/{i}/{place}", root, place))
                for file, root, place in _files(entry, path)
            ]
        names = tuple(str(entry["name"]) for entry in entries)
        manifest = {
            "format": _FORMAT,
            "entries": names,
            "files": [asdict(file) for _, file in sources],
        }
        try:
            with replacing(output) as temporary, tarfile.open(temporary, "w") as archive:
                text = json.dumps(manifest, indent=1).encode()
                archive.addfile(_header(_MANIFEST, len(text)), io.BytesIO(text))
                for path, file in sources:
                    with open_regular(path) as opened:
                        archive.addfile(_header(file.member, file.n_bytes), opened)
        except OSError as error:
            raise OutputError(
                f"expected to write '{output}', got: {error.strerror or error}; choose another file"
            ) from error
    return Packed(str(output), names, len(sources), sum(file.n_bytes for _, file in sources))


def _header(name: str, size: int) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size = size
    return made


def _described(path: Path, member: str, root: Root, place: str) -> _File:
    made = hashlib.sha256()
    with open_regular(path) as opened:
        while piece := opened.read(_PIECE):
            made.update(piece)
    return _File(member, root, place, path.stat().st_size, made.hexdigest())


def _files(entry: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, Root, str]]:
    """Files of an entry, and where they belong on another machine."""
    cache = hub_cache()
    if entry["hub_id"] and path.is_relative_to(cache):
        for file in _together(path):
            yield file.resolve(), "hub", file.relative_to(cache).as_posix()
        reference = cache / path.relative_to(cache).parts[0] / "refs" / "main"
        if reference.is_file():
            yield reference, "hub", reference.relative_to(cache).as_posix()
    elif path.parent == torch_cache():
        yield path, "torch", path.name
    else:
        base = path if path.is_dir() else path.parent
        for file in _together(path):
            yield file, "own", f"{entry['name']}/{file.relative_to(base).as_posix()}"


def _together(path: Path) -> list[Path]:
    """List a weights file, or an index with its files, and the configuration beside it."""
    files = [path]
    if path.name.endswith(INDEX):
        files += [path.parent / shard for shard in shards_of(path)]
    elif path.name == _METADATA or (path.is_dir() and is_one_checkpoint(path)):
        folder = path if path.is_dir() else path.parent
        files = sorted(file for file in folder.iterdir() if file.is_file())
    configuration = path.parent / _CONFIGURATION
    return [*files, *([configuration] if configuration.is_file() and configuration not in files else [])]


def _copy_index(store: Store, path: Path) -> None:
    """Copy what stands in an index, but for what is of its machine."""
    from zoo_index.database import queries, writes
    from zoo_index.database.clearing import drop_files, keep_standing
    from zoo_index.database.collections import collections_of, put_collection
    from zoo_index.database.copying import copy_content
    from zoo_index.database.sqlite import SqliteStore

    copy = SqliteStore(path)
    try:
        with copy.writing() as target, store.reading() as source:
            copy_content(source, target)
            number = queries.generation(source)
            names = {row["catalogue"] for row in queries.by_catalogue(source, number)}
            drop_files(target)
            keep_standing(target, number, sorted(names - {"local", "folder", "pypi"}))
            for collection in collections_of(source, "hub").get("hub", ()):
                put_collection(target, "hub", collection)
            writes.raise_generation(target)
        copy.compact()
    finally:
        copy.close()


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


def _manifest(archive: tarfile.TarFile) -> tuple[list[str], list[_File]]:
    """Read what a pack says is in it; nothing may lead out of its folder."""
    told = read_json(_member(archive, _MANIFEST).read(_MOST_MANIFEST))
    if told["format"] != _FORMAT:
        raise ValueError(f"a pack of format {told['format']!r:.20}, made by a newer version")
    files = [_File(**one) for one in told["files"]]
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


def _write(archive: tarfile.TarFile, told: _File, place: Path) -> None:
    """Write a file of a pack, and check it."""
    member = _member(archive, told.member, told.n_bytes)
    made = hashlib.sha256()
    with place.open("xb") as opened:
        while piece := member.read(_PIECE):
            made.update(piece)
            opened.write(piece)
    if made.hexdigest() != told.sha256:
        raise ValueError(f"{told.member} is damaged")


@contextmanager
def _beside(place: Path) -> Iterator[Path]:
    """Give a folder for what is not checked yet, in a file system with a place; no catalogue looks into it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=".unpacking-") as folder:
        yield Path(folder)


def _put(archive: tarfile.TarFile, told: _File, place: Path) -> bool:
    """Write a file that is not here yet, and check it before it takes its place; return whether it was written."""
    if place.exists():
        return False
    with _beside(place) as folder:
        _write(archive, told, folder / place.name)
        put_in_place(folder / place.name, place)
    return True


def _take_index(archive: tarfile.TarFile, told: _File, store: Store) -> bool:
    """Let a store that has no index get that of a pack; return whether it was taken."""
    from zoo_index.database.sqlite import SqliteStore

    if not isinstance(store, SqliteStore) or store.exists():
        return False
    with _beside(store.path) as folder:
        _write(archive, told, folder / "theirs")
        theirs = SqliteStore(folder / "theirs")
        try:
            _copy_index(theirs, folder / store.path.name)
        except IndexFileError as error:
            raise InputError(
                f"expected an index that can be read in the pack, got: {error}; ask for another pack"
            ) from error
        finally:
            theirs.close()
        put_in_place(folder / store.path.name, store.path)
    return True


def _put_own(archive: tarfile.TarFile, files: Sequence[_File]) -> int:
    """Write files of one's own that are not here yet, if they are weights; return how many were written."""
    root = own_folder()
    missing = {told.place for told in files if not (root / told.place).exists()}
    folders = {Path(place).parts[0] for place in missing}
    if not missing:
        return 0
    with _beside(root / _MANIFEST) as scratch:
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

    left = {file for file in root.rglob("*") if file.is_file() and file.name != _CONFIGURATION}
    wholes = sorted(file for file in left if file.name == _METADATA or file.name.endswith(INDEX))
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
