"""What a pack consists of: a tar archive with a manifest, which has a SHA-256 of every file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from zoo_index.database.store import Store


__all__ = [
    "CONFIGURATION",
    "FORMAT",
    "INDEX_MEMBER",
    "MANIFEST",
    "METADATA",
    "PIECE",
    "PackedFile",
    "Root",
    "copy_index",
    "own_folder",
]

FORMAT = 1
MANIFEST, INDEX_MEMBER = "manifest.json", "index.sqlite"
CONFIGURATION, METADATA = "config.json", ".metadata"
PIECE = 1 << 20

Root = Literal["hub", "torch", "own", "index"]


@dataclass(frozen=True, slots=True)
class PackedFile:
    """A file of a pack, and where it goes: below which folder, under which path."""

    member: str
    root: Root
    place: str
    n_bytes: int
    sha256: str


def own_folder() -> Path:
    """Return the folder of unpacked weights that are of no hub."""
    from platformdirs import user_data_path

    return Path(os.environ.get("ZOO_PACKED") or user_data_path("zoo") / "packed")


def copy_index(store: Store, path: Path) -> None:
    """Copy what stands in an index to a new file, but for what is of its machine."""
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
