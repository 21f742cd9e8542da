"""Standardize many networks in workers.

A worker returns data or the text of an error, so that whatever a network's code does, raise, hang or die, ends as a
note about that network.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from importlib import import_module

from zoo_index.catalogues.catalogue import CATALOGUES, Catalogue, CatalogueEntry
from zoo_index.catalogues.description import Description
from zoo_index.engines import Engine, Lost
from zoo_index.garbage import without_collections

__all__ = ["describe_safely", "standardize_entries"]


def standardize_entries(
    catalogue: Catalogue, entries: Sequence[CatalogueEntry], engine: Engine, seconds: float | None
) -> Iterator[tuple[CatalogueEntry, Description | str]]:
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
    result : Description or str
    """
    module = CATALOGUES[catalogue.name]
    results = engine.run(
        partial(describe_safely, module), entries, seconds=seconds, prepare=partial(import_module, module)
    )
    for entry, outcome in results:
        yield entry, outcome.reason if isinstance(outcome, Lost) else outcome.value


@without_collections()
def describe_safely(module: str, entry: CatalogueEntry) -> Description | str:
    """Describe one entry of the catalogue in a module; any exception of its code comes back as text."""
    try:
        described: Description = import_module(module).CATALOGUE.describe(entry)
        return described
    except Exception as error:  # code of whatever network: it may raise anything
        return f"{type(error).__name__}: {error}"
