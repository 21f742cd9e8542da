"""Small indexes: what is in one, and how a test puts networks into a store."""

from __future__ import annotations

from collections.abc import Sequence

import torch

import transfer
from zoo_index.catalogues.catalogue import CatalogueEntry
from zoo_index.catalogues.description import Description, describe
from zoo_index.database import descriptions, queries
from zoo_index.database.publishing import Changes, Listing, publish
from zoo_index.database.store import Connection, Store

SMALL_ZOO = ("test_vit", "test_vit2", "test_resnet", "test_efficientnet", "test_convnext", "efficientnet_lite0")


def description_of(name: str, module: torch.nn.Module) -> Description:
    """Describe a network as a catalogue does."""
    dpiat, paper = transfer.standardize(module), transfer.standardize(module, method="paper")
    return describe(name, dpiat, paper, dpiat.n_elements)


def entries_named(*names: str) -> list[CatalogueEntry]:
    """Entries ``architecture.tag`` as a catalogue lists them."""
    return [CatalogueEntry(name, name.partition(".")[0], name.partition(".")[2], license="mit") for name in names]


def prepare(store: Store, version: str = "1", **modules: torch.nn.Module) -> int:
    """Standardize networks for the next generation of the catalogue timm."""
    made = [description_of(name, module) for name, module in modules.items()]
    with store.writing() as connection:
        return descriptions.prepare(connection, "timm", version, made)


def publish_listed(store: Store, *names: str, is_whole: bool = True) -> Changes:
    """Let the catalogue timm list these entries from the next generation on."""
    with store.writing() as connection:
        return publish(connection, [Listing("timm", entries_named(*names), is_whole=is_whole)])[0]


def put(store: Store, name: str, module: torch.nn.Module, version: str = "1") -> int:
    """Prepare one network and publish it; return its id."""
    prepare(store, version, **{name: module})
    publish_listed(store, f"{name}.x", is_whole=False)
    with store.reading() as connection:
        return ids_of(connection, [name])[0]


def ids_of(connection: Connection, names: Sequence[str]) -> list[int]:
    """Ids of standing architectures."""
    generation = queries.generation(connection)
    found = {name: id_ for id_, name, _ in queries.fingerprints(connection, generation)}
    return [found[name] for name in names]


def address(store: Store) -> str:
    """Where a store is, so that another process can open it."""
    return store.place
