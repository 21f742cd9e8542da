"""Weights and index put into one file, for machines without a network (see `pack_format`)."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfer.errors import OutputError
from transfer.weights.files import check_writable, open_regular, replacing
from transfer.weights.indexes import INDEX
from transfer.weights.inspection import is_one_checkpoint
from zoo_index.foundation.progress import advance_bytes
from zoo_index.hub.availability import hub_cache, shards_of, torch_cache
from zoo_index.hub.fetching import fetch
from zoo_index.index.pack_format import (
    CONFIGURATION,
    FORMAT,
    INDEX_MEMBER,
    MANIFEST,
    METADATA,
    PIECE,
    PackedFile,
    Root,
    copy_index,
)

if TYPE_CHECKING:
    from zoo_index.database.store import Store


__all__ = ["Packed", "pack"]


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
        index = Path(scratch) / INDEX_MEMBER
        copy_index(store, index)
        sources = [(index, _described(index, INDEX_MEMBER, "index", INDEX_MEMBER))]
        for i, (entry, path) in enumerate(found):
            sources += [
                (file, _described(file, f"weights/{i}/{place}", root, place))
                for file, root, place in _files(entry, path)
            ]
        names = tuple(str(entry["name"]) for entry in entries)
        manifest = {
            "format": FORMAT,
            "entries": names,
            "files": [asdict(file) for _, file in sources],
        }
        try:
            with replacing(output) as temporary, tarfile.open(temporary, "w") as archive:
                text = json.dumps(manifest, indent=1).encode()
                archive.addfile(_header(MANIFEST, len(text)), io.BytesIO(text))
                n_bytes, n_written = sum(file.n_bytes for _, file in sources), 0
                for path, file in sources:
                    advance_bytes(f"writing {output.name}", n_written, n_bytes)
                    n_written += file.n_bytes
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


def _described(path: Path, member: str, root: Root, place: str) -> PackedFile:
    made = hashlib.sha256()
    with open_regular(path) as opened:
        n_bytes, n_read = os.fstat(opened.fileno()).st_size, 0
        while piece := opened.read(PIECE):
            made.update(piece)
            n_read += len(piece)
            advance_bytes(f"reading {path.name}", n_read, n_bytes)
    return PackedFile(member, root, place, path.stat().st_size, made.hexdigest())


def _files(entry: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, Root, str]]:
    """Files of an entry, and where they belong on another machine."""
    cache = hub_cache()
    if entry["hub_id"] and path.is_relative_to(cache):
        for file in _together(path):
            yield file.resolve(), "hub", file.relative_to(cache).as_posix()
        reference = cache / path.relative_to(cache).parts[0] / "refs" / "main"
        if os.path.isfile(reference):
            yield reference, "hub", reference.relative_to(cache).as_posix()
    elif path.parent == torch_cache():
        yield path, "torch", path.name
    else:
        base = path if os.path.isdir(path) else path.parent
        for file in _together(path):
            yield file, "own", f"{entry['name']}/{file.relative_to(base).as_posix()}"


def _together(path: Path) -> list[Path]:
    """List a weights file, or an index with its files, and the configuration beside it."""
    files = [path]
    if path.name.endswith(INDEX):
        files += [path.parent / shard for shard in shards_of(path)]
    elif path.name == METADATA or (os.path.isdir(path) and is_one_checkpoint(path)):
        folder = path if os.path.isdir(path) else path.parent
        files = sorted(file for file in folder.iterdir() if file.is_file())
    configuration = path.parent / CONFIGURATION
    return [*files, *([configuration] if os.path.isfile(configuration) and configuration not in files else [])]
