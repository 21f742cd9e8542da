"""Folders of checkpoints that users added: every weights file in a tree is an entry, known by its content.

Entries are ``NAME/relative/path``, without suffix. Files are looked into without running anything in them; what is
no weights file is passed over. A file whose size and time are those of last time is not read again.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from transfer.errors import CheckpointError
from transfer.weights.checkpoint import open_checkpoint
from transfer.weights.files import open_regular
from transfer.weights.indexes import INDEX
from zoo_index.catalogues.catalogue import Catalogue, CatalogueEntry, Collection, Request
from zoo_index.catalogues.checkpoint import describe_checkpoint
from zoo_index.catalogues.description import Description
from zoo_index.errors import CatalogueError
from zoo_index.logs import LOGGER
from zoo_index.plain_text import plain

__all__ = ["CATALOGUE", "SUFFIXES", "has_weights"]

SUFFIXES = (
    ".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".tar", ".pkl", ".npz", ".h5", ".keras", ".onnx",
)  # fmt: skip
"""Of files that may be weights."""

_METADATA = ".metadata"
_MOST_FILES = 100_000


def entries(request: Request) -> Iterator[CatalogueEntry]:
    """List the weights files in all folders.

    Raises
    ------
    CatalogueError
        If a folder is not there, e.g. on a disk that is not mounted: then all stands as it is.
    """
    for collection in request.collections:
        root = Path(collection.address)
        if not root.is_dir():
            raise CatalogueError(
                f"expected the folder '{root}' that was added as {collection.name!r}, found none; bring it back, "
                f"or: zoo remove {collection.name}"
            )
        yield from _in_folder(root, collection, request)


def has_weights(root: Path) -> bool:
    """Whether there is any file in a tree that may be weights."""
    return next(_weights_files(root), None) is not None


def _in_folder(root: Path, collection: Collection, request: Request) -> Iterator[CatalogueEntry]:
    files = list(_weights_files(root))
    if len(files) > _MOST_FILES:
        raise CatalogueError(f"expected at most {_MOST_FILES:,} weights files in '{root}', found {len(files):,}")
    times = Counter(_stem(root, file) for file in files)
    for file in files:
        stem = _stem(root, file)
        name = plain(f"{collection.name}/{stem if times[stem] == 1 else f'{stem}-{file.suffix[1:]}'}", 1000)
        entry = _entry(file, name, collection, request.known.get(name))
        if entry is not None:
            yield entry


def _weights_files(root: Path) -> Iterator[Path]:
    """List files that may be weights, in the order of their names; of several with an index the index alone."""
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if _METADATA in names:
            yield Path(folder, _METADATA)
            continue
        indexes = sorted(name for name in names if name.endswith(INDEX))
        if indexes:  # shards have no meaning of their own
            yield Path(folder, indexes[-1])
            continue
        yield from (Path(folder, name) for name in sorted(names) if name.endswith(SUFFIXES) and name[0] != ".")


def _stem(root: Path, file: Path) -> str:
    """Return the name of a file within its folder; of an index or of a folder's metadata that of the folder."""
    if file.name == _METADATA or file.name.endswith(INDEX):
        within = file.parent.relative_to(root).as_posix()
        return file.parent.name if within == "." else within
    within = file.relative_to(root).as_posix()
    return within.removesuffix(".tar").removesuffix(Path(within.removesuffix(".tar")).suffix)


def _entry(file: Path, name: str, collection: Collection, known: CatalogueEntry | None) -> CatalogueEntry | None:
    """Describe a file as an entry; None of what is no weights file, or cannot be read."""
    try:
        found = file.stat()
        stamp = (found.st_size, found.st_mtime_ns, str(file))
        if known is not None and (known.n_bytes, known.modified_ns, known.path) == stamp:
            revision = known.revision
        else:
            open_checkpoint(file)
            revision = _hash(file)
    except (OSError, CheckpointError) as error:
        LOGGER.info("passed over", extra={"details": {"file": str(file), "reason": str(error)}})
        return None
    return CatalogueEntry(
        name=name,
        architecture=name,
        family=collection.name,
        license=collection.license,
        path=str(file),
        n_bytes=found.st_size,
        revision=revision,
        modified_ns=found.st_mtime_ns,
    )


def _hash(file: Path) -> str:
    made = hashlib.sha256()
    with open_regular(file) as opened:
        while piece := opened.read(1 << 20):
            made.update(piece)
    return made.hexdigest()


def describe_entry(entry: CatalogueEntry) -> Description:
    """Standardize the header of an entry's file."""
    assert entry.path is not None
    return describe_checkpoint(entry.architecture, entry.path)


CATALOGUE = Catalogue("folder", lambda: "1", entries, describe_entry)
