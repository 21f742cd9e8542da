"""Add a local checkpoint to the index, or take one out."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from transfer.errors import InputError
from transfer.weights.checkpoint import open_checkpoint
from transfer.weights.files import check_path
from zoo_index.catalogues.catalogue import CatalogueEntry
from zoo_index.catalogues.checkpoint import classes_in, describe_checkpoint
from zoo_index.database import descriptions, runs
from zoo_index.database.publishing import Listing, next_architectures, publish, retire
from zoo_index.database.store import Connection, Store
from zoo_index.errors import UnknownNameError
from zoo_index.foundation.plain_text import check_name
from zoo_index.index.naming import check_entry_name, check_is_free
from zoo_index.index.upkeep import embed

__all__ = ["add_checkpoint", "remove_entry"]

_CATALOGUE = "local"


def add_checkpoint(
    store: Store, checkpoint: Path, name: str, *, license: str | None = None, family: str = ""
) -> None:
    """Standardize a checkpoint's header and store it as an entry, with its vector, in one transaction.

    Parameters
    ----------
    store : Store
    checkpoint : Path
    name : str
        Must not be taken.
    license : str, optional
    family : str

    Raises
    ------
    InputError
        If the name is taken or not usable, the licence or the family cannot be printed, or the path not be kept.
    CheckpointError
        If the file cannot be read.
    """
    check_entry_name(name)
    check_name(license or "", "a licence")
    check_name(family, "a family")
    path = _resolve(checkpoint)
    description = describe_checkpoint(name, path)
    entry = CatalogueEntry(
        name=name,
        architecture=name,
        license=license,
        family=family,
        n_classes=classes_in(open_checkpoint(path)),
        path=str(path),
        n_bytes=path.stat().st_size if path.is_file() else None,
    )
    listing = Listing(_CATALOGUE, [entry], is_whole=False)
    with store.writing() as connection:
        check_is_free(connection, name)
        run = runs.start_run(connection, "add", detail=str(path))
        descriptions.prepare(connection, _CATALOGUE, "", [description])

        def same() -> AbstractContextManager[Connection]:
            return nullcontext(connection)

        embedded = embed(same, same, next_architectures(connection, [listing]))
        _, generation = publish(connection, [listing], basis=embedded.new_basis, run=run)
        runs.end_run(connection, run, "done", n_planned=1, n_done=1, n_new=1, generation=generation)


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
