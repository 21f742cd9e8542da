"""Add a local checkpoint to the index."""

from __future__ import annotations

from pathlib import Path

from transfer.errors import InputError
from transfer.weights.files import check_path
from zoo_index.catalogues.catalogue import CatalogueEntry
from zoo_index.catalogues.checkpoint import describe_checkpoint
from zoo_index.database import descriptions, queries, writes
from zoo_index.database.store import Store
from zoo_index.index.upkeep import embed_missing
from zoo_index.plain_text import check_name

__all__ = ["add_checkpoint"]

_CATALOGUE = "local"


def add_checkpoint(
    store: Store, checkpoint: Path, name: str, *, license: str | None = None, family: str = ""
) -> None:
    """Standardize a checkpoint's header and store it as an entry.

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
    if not name or name != name.strip() or set(name) & set("/\\:."):
        raise InputError(
            f"expected a name without '/', '\\', ':', '.' (which sets off a tag) and outer spaces, got {name!r}"
        )
    check_name(name, "a name")
    check_name(license or "", "a licence")
    check_name(family, "a family")
    path = _resolve(checkpoint)
    description = describe_checkpoint(name, path)
    entry = CatalogueEntry(name=name, architecture=name, license=license, family=family, path=str(path))
    with store.writing() as connection:
        if any(name in (known["name"], known["architecture"]) for known in queries.entry_rows(connection)):
            raise InputError(f"expected a new name, {name!r} is taken; choose another one, or see: zoo show {name}")
        run = writes.start_run(connection, "add", 1, str(path))
        descriptions.put_description(connection, _CATALOGUE, "", description)
        writes.put_entries(connection, _CATALOGUE, [entry], partial=True)
        writes.end_run(connection, run, "done", 1, 0)
        writes.raise_generation(connection)
    embed_missing(store)


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
