"""Whether a weights file holds what another one holds, of which there is an entry."""

from __future__ import annotations

import filecmp
from pathlib import Path

from transfer.errors import ZooError
from zoo_index.database.local_files import entries_of_size
from zoo_index.database.store import Store
from zoo_index.hub.availability import parts_of
from zoo_index.hub.file_stamps import FILES

__all__ = ["alike"]


def alike(store: Store, path: Path, n_bytes: int) -> list[str]:
    """Name the entries whose file has the same content, or is the same one in a folder that was added.

    Only files of the same size are read, up to the first difference.
    """
    with store.reading() as connection:
        rows = entries_of_size(connection, FILES, n_bytes)
    others = [row for row in rows if (row["catalogue"], row["path"]) != ("local", str(path))]
    return [row["name"] for row in others if _are_equal(path, Path(row["path"]))]


def _are_equal(one: Path, other: Path) -> bool:
    try:
        pairs = zip([one, *parts_of(one)], [other, *parts_of(other)], strict=True)
        return all(filecmp.cmp(a, b, shallow=False) for a, b in pairs)
    except (OSError, ValueError, ZooError):  # one is gone, or has other parts
        return False
