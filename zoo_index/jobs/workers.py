"""Standardize many networks in workers.

A worker returns data or the text of an error, so that whatever a network's code does, raise, hang or die, ends as a
note about that network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from zoo_index.catalogues.catalogue import Catalogue, CatalogueEntry, load, place_of
from zoo_index.catalogues.description import FEATURES, Description, PassedOver
from zoo_index.engines import Engine, Lost
from zoo_index.errors import CatalogueError
from zoo_index.foundation.garbage import without_collections

__all__ = ["Described", "describe_safely", "prepare", "standardize_entries"]

Described = Description | PassedOver | str
"""What became of an entry; a text is what went wrong."""


def standardize_entries(
    catalogue: Catalogue, entries: Sequence[CatalogueEntry], engine: Engine, seconds: float | None
) -> Iterator[tuple[CatalogueEntry, Described]]:
    """Describe entries in workers, in any order; what went wrong comes back as text.

    Parameters
    ----------
    catalogue : Catalogue
    entries : sequence of CatalogueEntry
    engine : Engine
    seconds : float, optional
        How long one may take.

    Yields
    ------
    entry : CatalogueEntry
    result : Description, PassedOver or str

    Raises
    ------
    EngineError
        If there are no workers, or no more; what was yielded stands.
    """
    place = place_of(catalogue.name)
    ready = partial(prepare, place, catalogue.version(), FEATURES)
    results = engine.run(partial(describe_safely, place), entries, seconds=seconds, prepare=ready)
    for entry, outcome in results:
        yield entry, outcome.reason if isinstance(outcome, Lost) else outcome.value


@without_collections()
def describe_safely(place: str, entry: CatalogueEntry) -> Described:
    """Describe one entry of the catalogue at a place; any exception of its code comes back as text."""
    try:
        return load(place).describe(entry)
    except Exception as error:  # code of whatever network: it may raise anything
        return f"{type(error).__name__}: {error}"


def prepare(place: str, version: str, features: int) -> None:
    """Import what takes seconds, so that no entry's limit pays for it, and compare versions.

    Raises
    ------
    CatalogueError
        If this worker, on another machine, would describe networks otherwise.
    """
    import torch  # noqa: F401

    catalogue = load(place)
    found = catalogue.version()
    if (found, FEATURES) != (version, features):
        raise CatalogueError(
            f"expected {catalogue.name} {version or 'not installed'} with standardization {features}, as where the "
            f"index is, got {found or 'not installed'} with {FEATURES}"
        )
