"""The index that ships with the project: a compressed copy of the database, for one version of timm.

With it the first question is answered at once instead of after minutes of standardizing.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import tempfile
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from transfer.errors import OutputError
from transfer.weights.files import check_path, replacing
from zoo_index.catalogues.description import FEATURES
from zoo_index.database import loading, queries, runs
from zoo_index.database.clearing import keep_standing
from zoo_index.database.copying import copy_content
from zoo_index.database.migrate import REVISION
from zoo_index.database.opening import open_store
from zoo_index.database.sqlite import SqliteStore
from zoo_index.database.store import Store
from zoo_index.errors import IndexFileError
from zoo_index.index.upkeep import embed

__all__ = ["data_folder", "export_snapshot", "fill_from_snapshot", "read_provenance", "snapshot_fits"]

_INDEX = "index.sqlite.gz"
_PROVENANCE = "index.json"
_CATALOGUES = ("timm", "torchvision")


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


def snapshot_fits(provenance: dict[str, Any] | None = None) -> bool:
    """Whether a snapshot, by default the shipped one, suits the installed timm and this standardization.

    One of an older schema does: it is migrated as it is read. Of another torchvision only that part is made anew by
    the next refresh.
    """
    provenance = read_provenance() if provenance is None else provenance
    try:
        installed = metadata.version("timm")
    except metadata.PackageNotFoundError:
        return False
    return (
        provenance is not None
        and (provenance.get("timm"), provenance.get("features")) == (installed, FEATURES)
        and str(provenance.get("revision")) <= REVISION
    )


def fill_from_snapshot(store: Store, folder: Path | None = None) -> bool:
    """Fill an index that no reader has seen anything of, and that no refresh has begun to fill.

    Readers go on seeing nothing until the next generation is published.

    Returns
    -------
    bool
        Whether the content is that of the snapshot now.

    Raises
    ------
    IndexFileError
        If the snapshot is damaged or the database cannot be written.
    """
    folder = folder or data_folder()
    with store.writing() as connection:
        if queries.generation(connection):
            return False
        lease = runs.lease_row(connection)
        if lease["holder"] and not lease["is_dead"]:
            return True
        counts = queries.counts(connection, 1)
        if counts["architectures"]:  # it came so far before
            return True
        if counts["prepared"]:  # a refresh that was interrupted goes on with them
            return False
        with tempfile.TemporaryDirectory() as scratch:
            copy = open_store(_unpack(folder, Path(scratch)))
            with copy.reading() as source:
                copy_content(source, connection)
            copy.close()
    return True


def _unpack(folder: Path, scratch: Path) -> Path:
    provenance = read_provenance(folder) or {}
    try:
        packed = (folder / _INDEX).read_bytes()
    except OSError as error:
        raise IndexFileError(
            f"expected the snapshot '{folder / _INDEX}', got: {error.strerror or error}"
        ) from error
    if hashlib.sha256(packed).hexdigest() != provenance.get("sha256"):
        raise IndexFileError(
            f"expected the snapshot '{folder / _INDEX}' that its provenance describes, its checksum differs; "
            "install the package again, or run: zoo index refresh --no-snapshot"
        )
    path = scratch / "snapshot.sqlite"
    path.write_bytes(gzip.decompress(packed))
    return path


def export_snapshot(store: Store, folder: Path) -> dict[str, Any]:
    """Write the part of an index that is of timm and torchvision as a snapshot.

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
        If the index cannot be read, or is not complete for one version of timm and of torchvision.
    """
    check_path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            copy = SqliteStore(Path(scratch) / "index.sqlite")
            content = _strip(store, copy)
            packed = gzip.compress(copy.path.read_bytes(), compresslevel=9, mtime=0)
        provenance = {
            **content["versions"],
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


def _strip(store: Store, copy: SqliteStore) -> dict[str, Any]:
    """Copy an index, and drop everything that is of other catalogues or does not stand."""
    try:
        with copy.writing() as connection, store.reading() as source:
            copy_content(source, connection)
            number = queries.generation(source)
            keep_standing(connection, number, list(_CATALOGUES))
        embed(copy.reading, copy.writing, _ids(copy))
        with copy.writing() as connection:
            keep_standing(
                connection, 1, list(_CATALOGUES)
            )  # a new basis, if there is one, takes the place of the old
            rows = queries.by_catalogue(connection, 1)
            content = queries.counts(connection, 1)
        copy.compact()
    finally:
        copy.close()
    versions = {row["catalogue"]: row["catalogue_version"] for row in rows}
    if "timm" not in versions or len(rows) != len(versions) or content["embedded"] != content["architectures"]:
        raise IndexFileError(
            f"expected a complete index of one version of timm, found {len(rows)} versions and "
            f"{content['embedded']} of {content['architectures']} architectures embedded; run: zoo index refresh"
        )
    return {"versions": versions, **content}


def _ids(copy: Store) -> list[int]:
    with copy.reading() as connection:
        return [int(id_) for id_ in loading.architecture_ids(connection, 1)]


def _write_whole(path: Path, data: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(data)
