"""The index that ships with the project: a compressed copy of the database, for one version of timm.

With it the first question is answered at once instead of after minutes of standardizing.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import sqlite3
import tempfile
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from transfer.errors import OutputError
from transfer.weights.files import check_path, replacing, write_new
from zoo_index.catalogues.description import FEATURES
from zoo_index.database import queries, writes
from zoo_index.database.filling import fill_empty
from zoo_index.database.migrate import REVISION
from zoo_index.database.store import Store
from zoo_index.errors import IndexFileError
from zoo_index.index.upkeep import embed_missing

__all__ = ["data_folder", "export_snapshot", "import_snapshot", "read_provenance", "snapshot_fits"]

_INDEX = "index.sqlite.gz"
_PROVENANCE = "index.json"
_CATALOGUE = "timm"


def data_folder() -> Path:
    """Folder of what ships with the project: inside the installed package, else in the checkout."""
    installed = Path(__file__).parents[1] / "_data"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "data"


def read_provenance(folder: Path | None = None) -> dict[str, Any] | None:
    """Read what the snapshot was made from; None if there is none."""
    try:
        content = json.loads(((folder or data_folder()) / _PROVENANCE).read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def snapshot_fits(provenance: dict[str, Any] | None) -> bool:
    """Whether the snapshot was made from the installed timm by this version of the standardization."""
    try:
        installed = metadata.version("timm")
    except metadata.PackageNotFoundError:
        return False
    return provenance is not None and (
        provenance.get("timm"),
        provenance.get("features"),
        provenance.get("revision"),
    ) == (installed, FEATURES, REVISION)


def import_snapshot(store: Store, folder: Path | None = None) -> bool:
    """Put the snapshot in place of a missing database, if it fits.

    A database that exists is never replaced: another process may be filling it. A file of no bytes is filled.

    Returns
    -------
    bool
        Whether it was imported.

    Raises
    ------
    IndexFileError
        If the snapshot is damaged or the database cannot be written.
    """
    folder = folder or data_folder()
    provenance = read_provenance(folder)
    is_made = store.path.is_file()  # by an interrupted start, or by hand: a file of no bytes is no index yet
    if (
        provenance is None
        or not snapshot_fits(provenance)
        or store.exists()
        or (store.path.exists() and not is_made)
    ):
        return False
    try:
        packed = (folder / _INDEX).read_bytes()
    except OSError:
        return False
    if hashlib.sha256(packed).hexdigest() != provenance.get("sha256"):
        raise IndexFileError(
            f"expected the snapshot '{folder / _INDEX}' that its provenance describes, its checksum differs; "
            "install the package again, or run: zoo index refresh --no-snapshot"
        )
    try:
        store.path.parent.mkdir(parents=True, exist_ok=True)
        if not is_made:
            return write_new(store.path, gzip.decompress(packed))
        with tempfile.TemporaryDirectory() as scratch:
            unpacked = Path(scratch) / "index.sqlite"
            unpacked.write_bytes(gzip.decompress(packed))
            return fill_empty(store.path, unpacked)
    except (OSError, sqlite3.Error) as error:
        raise IndexFileError(
            f"expected to write the index '{store.path}', got: {getattr(error, 'strerror', None) or error}; "
            "make room for it, or name another file with --db or ZOO_DB"
        ) from error


def export_snapshot(store: Store, folder: Path) -> dict[str, Any]:
    """Write the timm part of an index as a snapshot.

    Parameters
    ----------
    store : Store
    folder : Path
        Receives ``index.sqlite.gz`` and ``index.json``.

    Returns
    -------
    dict
        The provenance.

    Raises
    ------
    OutputError
        If the folder cannot be written.
    InputError
        If no folder can have that path.
    IndexFileError
        If the index cannot be read, or is not complete for one version of timm.
    """
    check_path(folder)
    with store.reading():  # the revision is right
        pass
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            copy = Path(scratch) / "index.sqlite"
            content = _strip(store, copy)
            packed = gzip.compress(copy.read_bytes(), compresslevel=9, mtime=0)
        provenance = {
            "timm": content["version"],
            "torch": metadata.version("torch"),
            "features": FEATURES,
            "revision": REVISION,
            "made_utc": datetime.now(UTC).isoformat(timespec="seconds"),
            "architectures": content["architectures"],
            "entries": content["entries"],
            "sha256": hashlib.sha256(packed).hexdigest(),
        }
        _write_whole(folder / _INDEX, packed)
        _write_whole(folder / _PROVENANCE, (json.dumps(provenance, indent=1) + "\n").encode())
    except OSError as error:
        if isinstance(error, IndexFileError):
            raise
        raise OutputError(
            f"expected to write a snapshot to '{folder}', got: {error.strerror or error}; name another folder"
        ) from error
    return provenance


def _strip(store: Store, copy: Path) -> dict[str, Any]:
    """Copy a database and drop everything that is not timm's, and what nothing points to any more."""
    store.copy_to(copy)
    stripped = Store(copy)
    try:
        with stripped.writing() as connection:
            for row in queries.by_catalogue(connection):
                if row["catalogue"] != _CATALOGUE:
                    writes.drop_architectures(connection, row["catalogue"], keep=())
            writes.drop_unused(connection)
        embed_missing(stripped)
        with stripped.writing() as connection:
            writes.forget_history(connection)
            rows = queries.by_catalogue(connection)
            content = queries.counts(connection)
        stripped.compact()
    finally:
        stripped.close()
    if len(rows) != 1 or content["embedded"] != content["architectures"]:
        raise IndexFileError(
            f"expected a complete index of one version of timm, found {len(rows)} versions and "
            f"{content['embedded']} of {content['architectures']} architectures embedded; run: zoo index refresh"
        )
    return {"version": rows[0]["catalogue_version"], **content}


def _write_whole(path: Path, data: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(data)
