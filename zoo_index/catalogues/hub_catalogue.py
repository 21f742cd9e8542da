"""Repositories of the Hugging Face Hub that users asked for: known by the headers of their weights alone.

Entries are called as the repositories are, e.g. ``google/vit-base-patch16-224``. Those of which the hub has no
safetensors file are passed over: of other formats the whole file would have to be read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_index.catalogues.catalogue import Catalogue, CatalogueEntry, Collection, Request
from zoo_index.catalogues.description import Description
from zoo_index.errors import CatalogueError
from zoo_index.foundation.logs import LOGGER
from zoo_index.hub import library

if TYPE_CHECKING:
    from zoo_index.hub.queries import Repository

__all__ = ["CATALOGUE"]

_USUAL = ("model.safetensors", "model.safetensors.index.json")


def entries(request: Request) -> list[CatalogueEntry]:
    """Ask the hub for the repositories of all queries; each is listed once.

    Raises
    ------
    CatalogueError
        If the hub cannot be asked: then all stands as it is.
    """
    from zoo_index.hub.failures import DownloadError
    from zoo_index.hub.headers import fetch_ahead
    from zoo_index.hub.queries import parse_query, repositories

    found: dict[str, CatalogueEntry] = {}
    for collection in request.collections:
        try:
            for repository in repositories(parse_query(collection.address)):
                file = _weights(repository.files)
                if file is None:
                    details = {"repository": repository.name, "reason": "no safetensors file"}
                    LOGGER.info("passed over", extra={"details": details})
                elif repository.name not in found:
                    found[repository.name] = _entry(repository, file, collection)
            new = [entry for entry in found.values() if not _is_known(entry, request)]
            fetch_ahead([(*_place(entry), _with_config(entry)) for entry in new])
        except DownloadError as error:
            raise CatalogueError(
                f"expected the hub to answer {collection.address!r}, it {error.reason}; {error.advice}"
            ) from error
    return list(found.values())


def _weights(files: tuple[str, ...]) -> str | None:
    """Return the file of the weights, or the index of several; None if it is not plain which that is."""
    for name in _USUAL:
        if name in files:
            return name
    indexes = [name for name in files if name.endswith(".safetensors.index.json") and "/" not in name]
    alone = [name for name in files if name.endswith(".safetensors") and "/" not in name]
    return indexes[0] if len(indexes) == 1 else alone[0] if len(alone) == 1 else None


def _entry(repository: Repository, file: str, collection: Collection) -> CatalogueEntry:
    return CatalogueEntry(
        name=repository.name,
        architecture=repository.name,
        family=repository.library or "",
        license=repository.tagged("license") or collection.license,
        hub_id=repository.name,
        hub_filename=file,
        task=repository.task,
        dataset=repository.tagged("dataset"),
        downloads=repository.downloads,
        n_bytes=repository.n_bytes,
        revision=repository.commit,
    )


def _is_known(entry: CatalogueEntry, request: Request) -> bool:
    known = request.known.get(entry.name)
    return known is not None and (known.revision, known.hub_filename) == (entry.revision, entry.hub_filename)


def _place(entry: CatalogueEntry) -> tuple[str, str, str]:
    """Repository, commit and file."""
    assert entry.hub_id is not None
    assert entry.revision is not None
    assert entry.hub_filename is not None
    return entry.hub_id, entry.revision, entry.hub_filename


def _with_config(entry: CatalogueEntry) -> bool:
    """Whether a ``config.json`` says how the network is built."""
    return entry.family == library.WITH_CONFIG


def describe_entry(entry: CatalogueEntry) -> Description:
    """Standardize the header of an entry's weights, or the network that its configuration tells."""
    from zoo_index.catalogues.checkpoint import describe_header
    from zoo_index.catalogues.transformers_structure import structure_beside
    from zoo_index.hub.headers import read_remote

    checkpoint = read_remote(*_place(entry), with_config=_with_config(entry))
    structure = structure_beside(checkpoint)[0] if _with_config(entry) else None
    return describe_header(entry.architecture, checkpoint, structure)


CATALOGUE = Catalogue("hub", lambda: "1", entries, describe_entry)
