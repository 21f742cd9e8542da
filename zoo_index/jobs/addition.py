"""Add a local checkpoint to the index, or take one out."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transfer.errors import InputError
from transfer.weights.checkpoint import open_checkpoint
from transfer.weights.files import check_path
from zoo_index.catalogues.catalogue import CatalogueEntry
from zoo_index.catalogues.checkpoint import classes_in, describe_checkpoint
from zoo_index.database import descriptions, runs
from zoo_index.database.local_files import entries_at
from zoo_index.database.publishing import Listing, next_architectures, publish, retire
from zoo_index.database.store import Connection, Store
from zoo_index.errors import UnknownNameError
from zoo_index.foundation.plain_text import check_name
from zoo_index.hub.file_stamps import Stamp, stamp_of
from zoo_index.index.naming import check_entry_name, check_is_free
from zoo_index.index.upkeep import embed
from zoo_index.jobs.same_content import alike

__all__ = ["Added", "add_checkpoint", "remove_entry"]

_CATALOGUE = "local"


@dataclass(frozen=True)
class Added:
    """What became of a file that was added.

    Parameters
    ----------
    name : str
        Of its entry.
    replaced : tuple of str
        Names of the entries that were of this file before; one that keeps its name is among them.
    alike : tuple of str
        Names of entries of other files that hold the same.
    """

    name: str
    replaced: tuple[str, ...]
    alike: tuple[str, ...]


def add_checkpoint(
    store: Store, checkpoint: Path, name: str | None = None, *, license: str | None = None, family: str = ""
) -> Added:
    """Standardize a checkpoint's header and store it as an entry, with its vector, in one transaction.

    A file has one entry: one that is there already is brought up to date.

    Parameters
    ----------
    store : Store
    checkpoint : Path
    name : str, optional
        Must not be taken by another file. By default what this file is called already, else its name without
        suffix.
    license : str, optional
    family : str
        Licence and family stay as they are where the file is there already and none is given.

    Returns
    -------
    Added

    Raises
    ------
    InputError
        If the name is taken or not usable, the licence or the family cannot be printed, or the path not be kept.
    CheckpointError
        If the file cannot be read.
    """
    if name is not None:
        check_entry_name(name)
    check_name(license or "", "a licence")
    check_name(family, "a family")
    path = _resolve(checkpoint)
    if store.exists():
        with store.reading() as connection:
            known = entries_at(connection, _CATALOGUE, str(path))
            name = name or (known[0]["name"] if known else None)
    if name is None:
        name = checkpoint.stem
        check_entry_name(name)
    stamp = _look_at(path)  # before it is read: what is written later is noticed
    description = describe_checkpoint(name, path)
    n_classes = classes_in(open_checkpoint(path))
    same_content = alike(store, path, stamp.n_bytes) if stamp else []
    with store.writing() as connection:
        before = {row["name"]: row for row in entries_at(connection, _CATALOGUE, str(path))}
        if name not in before:
            check_is_free(connection, name)
        stands: dict[str, Any] = before.get(name) or next(iter(before.values()), {"license": None, "family": ""})
        entry = CatalogueEntry(
            name=name,
            architecture=name,
            license=stands["license"] if license is None else license,
            family=family or stands["family"],
            n_classes=n_classes,
            path=str(path),
            n_bytes=stamp.n_bytes if stamp else None,
            modified_ns=stamp.modified_ns if stamp else None,
        )
        listing = Listing(_CATALOGUE, [entry], is_whole=False)
        run = runs.start_run(connection, "add", detail=str(path))
        for other in before:
            if other != name:
                retire(connection, _CATALOGUE, other, run)
        descriptions.prepare(connection, _CATALOGUE, "", [description])

        def same() -> AbstractContextManager[Connection]:
            return nullcontext(connection)

        embedded = embed(same, same, next_architectures(connection, [listing]))
        _, generation = publish(connection, [listing], basis=embedded.new_basis, run=run)
        is_new = {} if before else {"n_new": 1}
        runs.end_run(connection, run, "done", n_planned=1, n_done=1, **is_new, generation=generation)
    return Added(name, tuple(before), tuple(same_content))


def remove_entry(store: Store, name: str) -> None:
    """Retire a local entry; its file stays.

    Raises
    ------
    UnknownNameError
        If there is no local entry of this name.
    """
    with store.writing() as connection:
        run = runs.start_run(connection, "remove", detail=name)
        generation = retire(connection, _CATALOGUE, name, run)
        if generation is None:
            raise UnknownNameError(
                f"expected an entry that was added with zoo add, got {name!r}; see: zoo list --catalogue local"
            )
        runs.end_run(connection, run, "done", n_planned=1, n_done=1, n_retired=1, generation=generation)


def _look_at(path: Path) -> Stamp | None:
    """Return size and time of a file; None of a folder, and of what is not there, which whoever reads it tells."""
    try:
        return stamp_of(path) if os.path.isfile(path) else None
    except (OSError, ValueError):
        return None


def _resolve(checkpoint: Path) -> Path:
    """Return the whole path, which is to be kept as text."""
    check_path(checkpoint)
    try:
        path = checkpoint.resolve()
        str(path).encode()
    except (OSError, RuntimeError) as error:  # links that lead to themselves
        raise InputError(f"expected a weights file at '{checkpoint}', got: {error}; check the path") from error
    except UnicodeEncodeError as error:
        raise InputError(
            f"expected a path that is text, '{path}' has bytes that are no UTF-8; rename the file, or its folder"
        ) from error
    return path
