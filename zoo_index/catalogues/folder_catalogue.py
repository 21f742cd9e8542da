"""Folders of checkpoints that users added: every weights file in a tree is an entry, known by its content.

Entries are ``NAME/relative/path``, without suffix unless several files would be called alike. Files are looked
into without running anything in them; what is no weights file is passed over. A file whose size and time are those
of last time is not read again; of a checkpoint in several files, none is if that holds for all of them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from transfer.errors import CheckpointError
from transfer.weights.checkpoint import open_checkpoint
from transfer.weights.files import open_regular
from transfer.weights.indexes import INDEX
from zoo_index.catalogues.catalogue import Catalogue, CatalogueEntry, Collection, Request
from zoo_index.catalogues.checkpoint import classes_in, describe_checkpoint
from zoo_index.catalogues.description import Description
from zoo_index.errors import CatalogueError
from zoo_index.foundation.logs import LOGGER
from zoo_index.foundation.plain_text import plain
from zoo_index.hub.availability import parts_of
from zoo_index.hub.file_stamps import stamp_of

__all__ = ["CATALOGUE", "SUFFIXES", "has_weights"]

SUFFIXES = (
    ".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".tar", ".pkl", ".npz", ".h5", ".keras", ".onnx",
)  # fmt: skip
"""Of files that may be weights."""

_METADATA = ".metadata"
_MOST_FILES = 100_000
_MOST_IN_A_NAME = 1000


def entries(request: Request) -> Iterator[CatalogueEntry]:
    """List the weights files in all folders.

    Raises
    ------
    CatalogueError
        If a folder is not there, e.g. on a disk that is not mounted: then all stands as it is.
    """
    for collection in request.collections:
        root = Path(collection.address)
        if not os.path.isdir(root):
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
    for file, name in zip(files, _names(root, files, collection), strict=True):
        entry = _entry(file, name, collection, request.known.get(name))
        if entry is not None:
            yield entry


def _weights_files(root: Path) -> Iterator[Path]:
    """List files that may be weights, in the order of their names; of several with an index the index alone."""
    shards: set[Path] = set()  # they have no meaning of their own
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        wholes = [Path(folder, name) for name in sorted(names) if name == _METADATA or name.endswith(INDEX)]
        for whole in wholes:
            shards.update(parts_of(whole))
        yield from wholes
        others = (Path(folder, name) for name in sorted(names) if name.endswith(SUFFIXES) and name[0] != ".")
        yield from (file for file in others if file not in shards)


def _names(root: Path, files: Sequence[Path], collection: Collection) -> list[str]:
    """Call files, each by the shortest of its names that no other file has a better claim to."""
    choices = [_choices(root, file, collection.name) for file in files]
    last = len(choices[0]) - 1 if choices else 0
    taken = [0] * len(files)
    while True:
        claims: dict[str, list[int]] = {}
        for i, chosen in enumerate(taken):
            claims.setdefault(choices[i][chosen], []).append(i)
        rivals = [claim for claim in claims.values() if len(claim) > 1]
        if not rivals:
            return [names[chosen] for names, chosen in zip(choices, taken, strict=True)]
        for claim in rivals:
            least = min(taken[i] for i in claim)
            first = [i for i in claim if taken[i] == last] or [i for i in claim if taken[i] == least]
            for i in claim:
                if first != [i]:
                    taken[i] = min(taken[i] + 1, last)


def _choices(root: Path, file: Path, collection: str) -> list[str]:
    """List names for a file, the shortest first: the last has a hash in it, even where a long name is cut.

    The shortest is its path without suffix; of an index or of a folder's metadata the path of the folder.
    """
    path = file.relative_to(root).as_posix()
    if file.name == _METADATA or file.name.endswith(INDEX):
        within = file.parent.relative_to(root).as_posix()
        stem, rest = (file.parent.name if within == "." else within), file.name.removesuffix(INDEX)
    else:
        stem = path.removesuffix(".tar")
        stem = stem.removesuffix(Path(stem).suffix)
        rest = path[len(stem) + 1 :]
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()
    names = [f"{collection}/{name}" for name in (stem, f"{stem}-{rest}", path)]
    return [*(plain(name, _MOST_IN_A_NAME) for name in names), f"{plain(names[1], 900)}-{digest[:32]}"]


def _entry(file: Path, name: str, collection: Collection, known: CatalogueEntry | None) -> CatalogueEntry | None:
    """Describe a file as an entry; None of what is no weights file, or cannot be read."""
    try:
        stamp = stamp_of(file)
        seen = (stamp.n_bytes, stamp.modified_ns, str(file))
        if known is not None and (known.n_bytes, known.modified_ns, known.path) == seen:
            revision, n_classes = known.revision, known.n_classes
        else:
            n_classes = classes_in(open_checkpoint(file))
            revision = _hash([file, *parts_of(file)])
    except (OSError, CheckpointError) as error:
        LOGGER.info("passed over", extra={"details": {"file": str(file), "reason": str(error)}})
        return None
    return CatalogueEntry(
        name=name,
        architecture=name,
        family=collection.name,
        license=collection.license,
        n_classes=n_classes,
        path=str(file),
        n_bytes=stamp.n_bytes,
        revision=revision,
        modified_ns=stamp.modified_ns,
    )


def _hash(files: Sequence[Path]) -> str:
    """Hash a file; of several, the hashes of all."""
    hashes = [_hash_of(file) for file in files]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()


def _hash_of(file: Path) -> str:
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
