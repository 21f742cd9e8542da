"""Structures of the transformers library at their default sizes: networks for text and sound, without weights.

They say which network is closest, e.g. for a language model of one's own; weights of one come from a hub
(``zoo add hub:...``). Listed only where it was asked for (``zoo add transformers:``), since it takes many minutes.
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from zoo_index.catalogues.catalogue import Catalogue, CatalogueEntry, Request
from zoo_index.catalogues.description import Description, PassedOver

if TYPE_CHECKING:
    from torch import nn

__all__ = ["CATALOGUE", "PREFIX"]

PREFIX = "transformers/"


def version() -> str:
    """Version of the installed transformers, without importing it; empty if there is none."""
    try:
        return metadata.version("transformers")
    except metadata.PackageNotFoundError:
        return ""


def entries(request: Request) -> list[CatalogueEntry]:
    """List the classes of networks, if somebody asked for them."""
    if not request.collections:
        return []
    from zoo_index.catalogues.transformers_structure import known_networks

    return [
        CatalogueEntry(PREFIX + name, PREFIX + name, family=kind, task=task)
        for name, (kind, task) in known_networks().items()
    ]


def build(name: str) -> nn.Module:
    """Build the network of an entry on the meta device, at its default sizes.

    Parameters
    ----------
    name : str
    """
    from zoo_index.catalogues.transformers_structure import default_network

    return default_network(name.removeprefix(PREFIX))


def describe_entry(entry: CatalogueEntry) -> Description | PassedOver:
    """Standardize the architecture of an entry on the meta device; pass over what its defaults do not build."""
    from zoo_index.catalogues.description import describe_network

    try:
        network = build(entry.architecture)
    except Exception as error:  # classes that want a configuration raise whatever they like
        return PassedOver(f"its default configuration does not build it: {type(error).__name__}: {error}")
    return describe_network(entry.architecture, network)


CATALOGUE = Catalogue("transformers", version, entries, describe_entry, build=build)
