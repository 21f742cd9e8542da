"""Add folders and queries of hubs to the index, and take them out; every refresh lists them again."""

from __future__ import annotations

import os
from pathlib import Path

from transfer.errors import InputError
from transfer.weights.files import check_path
from zoo_index.catalogues.catalogue import Collection
from zoo_index.catalogues.folder_catalogue import SUFFIXES, has_weights
from zoo_index.database import collections
from zoo_index.database.store import Store
from zoo_index.foundation.plain_text import check_name
from zoo_index.index.naming import check_entry_name, check_is_free

__all__ = [
    "add_folder",
    "add_query",
    "add_structures",
    "collection_of",
    "drop",
]

_FOLDER, _HUB, _TRANSFORMERS = "folder", "hub", "transformers"


def add_folder(store: Store, folder: Path, name: str, license: str | None = None) -> str:
    """Keep a folder to be listed at every refresh; return the catalogue that lists it.

    Parameters
    ----------
    store : Store
    folder : Path
    name : str
        Names of its entries begin with it. A folder of this name that was added before is replaced.
    license : str, optional
        Of all weights in it.

    Raises
    ------
    InputError
        If the name is not usable or taken, or there is no folder.
    """
    check_path(folder)
    check_entry_name(name)
    check_name(license or "", "a licence")
    if not os.path.isdir(folder):
        raise InputError(f"expected a folder at '{folder}', found none; check the path")
    address = str(folder.resolve())
    check_name(address, "the path of a folder")
    if not has_weights(folder):
        raise InputError(
            f"expected weights files in '{folder}', found none ({', '.join(SUFFIXES)}); check the path"
        )
    _add(store, _FOLDER, Collection(name, address, license))
    return _FOLDER


def add_query(store: Store, text: str, name: str, license: str | None = None) -> str:
    """Keep a query of the hub to be asked at every refresh; return the catalogue that lists what it finds.

    Parameters
    ----------
    store : Store
    text : str
        As ``author=timm,task=image-classification`` (see `hub.queries.parse_query`).
    name : str
        To remove it by. A query of this name that was added before is replaced.
    license : str, optional
        Of what states none.

    Raises
    ------
    InputError
        If the name is not usable or taken, or it is no query.
    """
    from zoo_index.hub.queries import parse_query

    check_entry_name(name)
    check_name(license or "", "a licence")
    check_name(text, "a query")
    parse_query(text)
    _add(store, _HUB, Collection(name, text, license))
    return _HUB


def add_structures(store: Store) -> str:
    """Let every refresh list the networks of transformers; return the catalogue that does."""
    _add(store, _TRANSFORMERS, Collection(_TRANSFORMERS, ""))
    return _TRANSFORMERS


def _add(store: Store, catalogue: str, collection: Collection) -> None:
    with store.writing() as connection:
        same = {one.name for one in collections.collections_of(connection, catalogue).get(catalogue, ())}
        if collection.name not in same:
            check_is_free(connection, collection.name)
        collections.put_collection(connection, catalogue, collection)


def collection_of(store: Store, name: str) -> str | None:
    """Return the catalogue of the collection of a name; None if there is none."""
    if not store.exists():
        return None
    with store.reading() as connection:
        known = collections.collections_of(connection)
    return next((catalogue for catalogue, ones in known.items() if name in {one.name for one in ones}), None)


def drop(store: Store, catalogue: str, name: str) -> None:
    """Forget a collection; the next refresh of its catalogue retires its entries."""
    with store.writing() as connection:
        collections.drop_collection(connection, catalogue, name)
