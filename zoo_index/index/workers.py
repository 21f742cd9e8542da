"""Standardize many networks on an engine.

A worker returns data or the text of an error, so that whatever a network's code raises ends as a note about
that network; an engine says why it has nothing where that code took its process down or did not end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from zoo_index.catalogues.catalogue import Catalogue, CatalogueEntry, open_catalogue
from zoo_index.catalogues.description import FEATURES, Description
from zoo_index.engines import Done, Engine, Lost
from zoo_index.errors import CatalogueError
from zoo_index.garbage import without_collections

__all__ = ["describe_safely", "prepare", "standardize_entries"]


def standardize_entries(
    catalogue: Catalogue, entries: Iterable[CatalogueEntry], engine: Engine, seconds: float | None = None
) -> Iterator[tuple[CatalogueEntry, Description | str | Lost]]:
    """Describe entries on an engine, in any order.

    Parameters
    ----------
    catalogue : Catalogue
    entries : iterable of CatalogueEntry
    engine : Engine
    seconds : float, optional
        What one entry may take.

    Yields
    ------
    entry
    Description, str or Lost
        The text of an error of the network's code; `Lost` where it took the worker down or too long.

    Raises
    ------
    EngineError
        If there are no workers, or no more; what was yielded stands.
    """
    describe = partial(describe_safely, catalogue.name)
    ready = partial(prepare, catalogue.name, catalogue.version(), FEATURES)
    run = engine.run(describe, entries, seconds=seconds, prepare=ready)
    for entry, outcome in run:
        yield entry, outcome.value if isinstance(outcome, Done) else outcome


@without_collections()
def describe_safely(catalogue_name: str, entry: CatalogueEntry) -> Description | str:
    """Describe one entry; any exception of its code comes back as text."""
    try:
        return open_catalogue(catalogue_name).describe(entry)
    except Exception as error:  # code of whatever network: it may raise anything
        return f"{type(error).__name__}: {error}"


def prepare(catalogue_name: str, version: str, features: int) -> None:
    """Import what takes seconds, so that no entry's limit pays for it, and compare versions.

    Raises
    ------
    CatalogueError
        If this worker, on another machine, would describe networks otherwise.
    """
    import torch  # noqa: F401

    found = open_catalogue(catalogue_name).version()
    if (found, FEATURES) != (version, features):
        raise CatalogueError(
            f"expected {catalogue_name} {version or 'not installed'} with standardization {features}, as where the "
            f"index is, got {found or 'not installed'} with {FEATURES}"
        )
