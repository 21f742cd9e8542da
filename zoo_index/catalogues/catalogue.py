"""What every catalogue of pretrained networks offers to the index.

A catalogue lists entries; entries that share an architecture name it alike. Which catalogues there are
stands in `CATALOGUES`; each has a module of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from zoo_index.catalogues.description import Description

__all__ = ["CATALOGUES", "LISTED", "Catalogue", "CatalogueEntry", "open_catalogue"]


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """One pretrained weight set as its catalogue describes it.

    Parameters
    ----------
    name : str
        Unique; timm: ``resnet50.a1_in1k``.
    architecture : str
    tag : str
    family : str
        Of the architecture, as the catalogue groups them; timm: the module that defines it.
    license : str or None
        Of the weights, as the catalogue states it.
    input_size : str
        ``3x224x224``; empty where it is not known.
    n_classes : int
        0 where it is not known.
    hub_id, hub_filename, url, path : str or None
        Where the weights are.
    """

    name: str
    architecture: str
    tag: str = ""
    family: str = ""
    license: str | None = None
    input_size: str = ""
    n_classes: int = 0
    hub_id: str | None = None
    hub_filename: str | None = None
    url: str | None = None
    path: str | None = None


@dataclass(frozen=True)
class Catalogue:
    """A source of entries.

    Parameters
    ----------
    name : str
    version : callable
        Returns the version without importing anything heavy; empty if the catalogue is not installed.
    entries : callable
        Lists all entries, the preferred entry of each architecture first.
    describe : callable
        Standardizes the architecture of an entry; runs in a worker process.
    aliases : callable
        Names that the catalogue gave up, and what they are called now.
    """

    name: str
    version: Callable[[], str]
    entries: Callable[[], list[CatalogueEntry]]
    describe: Callable[[CatalogueEntry], Description]
    aliases: Callable[[], dict[str, str]] = dict


CATALOGUES = {
    "timm": "zoo_index.catalogues.timm_catalogue",
    "pypi": "zoo_index.catalogues.pypi_catalogue",
    "local": "zoo_index.catalogues.local_catalogue",
}
"""Catalogues by module."""

LISTED = ("timm", "pypi")
"""Those that list their entries; what belongs to `local` stands in the index alone."""


def open_catalogue(name: str) -> Catalogue:
    """Load a catalogue's module."""
    catalogue = import_module(CATALOGUES[name]).CATALOGUE
    assert isinstance(catalogue, Catalogue)
    return catalogue
