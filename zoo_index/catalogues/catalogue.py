"""What every catalogue of pretrained networks offers to the index.

A catalogue lists entries; entries that share an architecture name it alike. Each catalogue is a module of its own;
other packages can bring more of them (entry points of the group ``zoo.catalogues``, docs/catalogues.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from zoo_index.catalogues.description import Description, PassedOver
from zoo_index.errors import CatalogueError

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "CATALOGUES",
    "GROUP",
    "RANKING_DATASET",
    "Catalogue",
    "CatalogueEntry",
    "Collection",
    "Request",
    "listed_catalogues",
    "load",
    "open_catalogue",
    "place_of",
]

RANKING_DATASET = "imagenet"
"""Whose published results entries are shown with and ties are broken by."""

GROUP = "zoo.catalogues"
"""Group of entry points."""


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
    task, dataset : str or None
        What the weights were trained for and on, as the catalogue states it.
    downloads : int or None
    n_bytes : int or None
        Of the weights.
    revision : str or None
        Of the weights, e.g. a commit. Where it changes the architecture is standardized again.
    modified_ns : int or None
        When a file was written, in nanoseconds of the epoch; of several files a number that changes with any of
        their sizes and times.
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
    task: str | None = None
    dataset: str | None = None
    downloads: int | None = None
    n_bytes: int | None = None
    revision: str | None = None
    modified_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Collection:
    """What a user wants to be listed: a folder, or a query of a hub.

    Parameters
    ----------
    name : str
        Names of its entries begin with it.
    address : str
        Of the folder, or the query.
    license : str or None
        Of all entries that have none of their own.
    """

    name: str
    address: str
    license: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What a catalogue is told when it is asked for its entries.

    Parameters
    ----------
    collections : tuple of Collection
        Those of this catalogue.
    known : mapping of str to CatalogueEntry
        Its entries as they stand in the index, by name.
    """

    collections: tuple[Collection, ...] = ()
    known: Mapping[str, CatalogueEntry] = field(default_factory=dict)


@dataclass(frozen=True)
class Catalogue:
    """A source of entries.

    Parameters
    ----------
    name : str
    version : callable
        Returns the version without importing anything heavy; empty if the catalogue is not installed.
    entries : callable
        Lists all entries, told the request; the preferred entry of each architecture first.
    describe : callable
        Standardizes the architecture of an entry, or says why there is none and the entry is passed over; runs in a
        worker process.
    aliases : callable
        Names that the catalogue gave up, and what they are called now.
    build : callable, optional
        Builds the network of the entry of a name without weights, where the catalogue has its code; else weights
        speak for themselves.
    """

    name: str
    version: Callable[[], str]
    entries: Callable[[Request], Iterable[CatalogueEntry]]
    describe: Callable[[CatalogueEntry], Description | PassedOver]
    aliases: Callable[[], dict[str, str]] = dict
    build: Callable[[str], nn.Module] | None = None


CATALOGUES = {
    "timm": "zoo_index.catalogues.timm_catalogue",
    "torchvision": "zoo_index.catalogues.torchvision_catalogue",
    "transformers": "zoo_index.catalogues.transformers_catalogue",
    "pypi": "zoo_index.catalogues.pypi_catalogue",
    "folder": "zoo_index.catalogues.folder_catalogue",
    "hub": "zoo_index.catalogues.hub_catalogue",
    "local": "zoo_index.catalogues.local_catalogue",
}
"""Catalogues that come with the project, by module."""

_UNLISTED = ("local",)
"""Those whose entries stand in the index alone."""


def listed_catalogues() -> list[str]:
    """Names of the catalogues that list their entries, those of other packages last."""
    return [name for name in (*CATALOGUES, *_foreign()) if name not in _UNLISTED]


def open_catalogue(name: str) -> Catalogue:
    """Load a catalogue.

    Raises
    ------
    CatalogueError
        If it cannot be loaded, or is none.
    """
    try:
        found = load(place_of(name))
    except Exception as error:
        if name in CATALOGUES:
            raise
        raise CatalogueError(  # code of whatever package: it may raise anything
            f"expected the catalogue {name!r} to be importable, got {type(error).__name__}: {error}; mend or "
            "remove the package that brings it"
        ) from error
    if not isinstance(found, Catalogue) or found.name != name:
        raise CatalogueError(
            f"expected a Catalogue named {name!r} at {place_of(name)!r}, got another object; mend the package that "
            "brings it"
        )
    return found


def place_of(name: str) -> str:
    """Return where a catalogue is defined, as ``module:attribute``; worker processes load it from there.

    Raises
    ------
    CatalogueError
        If there is none of this name.
    """
    found = f"{CATALOGUES[name]}:CATALOGUE" if name in CATALOGUES else _foreign().get(name)
    if found is None:
        raise CatalogueError(f"expected a catalogue, got {name!r}; there are {', '.join(listed_catalogues())}")
    return found


def load(place: str) -> Catalogue:
    """Load the catalogue at ``module:attribute``; any exception of its code is passed on."""
    module, _, attribute = place.partition(":")
    found: Catalogue = getattr(import_module(module), attribute)
    return found


@cache
def _foreign() -> dict[str, str]:
    """Where catalogues of other packages are defined, by name."""
    return {point.name: point.value for point in entry_points(group=GROUP) if point.name not in CATALOGUES}
