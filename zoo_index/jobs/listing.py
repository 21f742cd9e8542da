"""Ask the catalogues what there is now, and in which versions."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata

from zoo_index.catalogues.catalogue import CatalogueEntry, Collection, Request, open_catalogue
from zoo_index.catalogues.description import FEATURES
from zoo_index.database import queries
from zoo_index.database.collections import collections_of
from zoo_index.database.publishing import Listing
from zoo_index.database.store import Store
from zoo_index.errors import CatalogueError, UnknownNameError
from zoo_index.foundation.logs import LOGGER

__all__ = ["Listed", "ask_catalogues", "outdated_local"]


@dataclass
class Listed:
    """What catalogues list.

    Parameters
    ----------
    listings : list of Listing
    versions : dict of str to str
        Of the catalogues and of what standardizes.
    failed : dict of str to str
        Why a catalogue could not be listed.
    """

    listings: list[Listing] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def ask_catalogues(target: Store, catalogues: Sequence[str], only: Sequence[str] = ()) -> Listed:
    """Ask catalogues what there is; one that fails is left as it stands.

    Parameters
    ----------
    target : Store
        Of the index, which knows the collections and what stands.
    catalogues : sequence of str
    only : sequence of str
        Names of architectures to restrict it to.

    Raises
    ------
    CatalogueError
        If names are asked for, and a catalogue that may have them cannot be listed.
    UnknownNameError
        If a name of `only` is in no catalogue.
    """
    asked, known = _requests(target)
    found = Listed()
    names: set[str] = set()
    for name in catalogues:
        try:
            catalogue = open_catalogue(name)
            found.versions[name] = catalogue.version()
            request = Request(asked.get(name, ()), known.get(name, {}))
            entries = list(catalogue.entries(request)) if found.versions[name] else []
            aliases = catalogue.aliases() if found.versions[name] else {}
        except Exception as error:  # code of whatever catalogue: it may raise anything
            _pass_on_interrupt(error)
            found.versions.setdefault(name, "")
            found.failed[name] = f"could not be listed: {type(error).__name__}: {error}"
            LOGGER.warning("failed", extra={"details": {"catalogue": name, "reason": found.failed[name]}})
            continue
        names |= {entry.architecture for entry in entries}
        if only:
            entries = [entry for entry in entries if entry.architecture in only]
        found.listings.append(Listing(name, entries, is_whole=not only, aliases={} if only else aliases))
    _check_known(only, names, found)
    found.versions |= {
        "features": str(FEATURES),
        "torch": metadata.version("torch"),
        "zoo-index": _own_version(),
    }
    return found


def _requests(target: Store) -> tuple[dict[str, tuple[Collection, ...]], dict[str, dict[str, CatalogueEntry]]]:
    """Read collections of every catalogue, and the standing entries of those that have some."""
    if not target.exists():
        return {}, {}
    with target.reading() as connection:
        asked = collections_of(connection)
        number = queries.generation(connection)
        known = {name: queries.catalogue_entries(connection, number, name) for name in asked}
    return asked, {name: {entry.name: entry for entry in entries} for name, entries in known.items()}


def _check_known(only: Sequence[str], names: set[str], found: Listed) -> None:
    unknown = set(only) - names
    if unknown and found.failed:
        name, reason = next(iter(found.failed.items()))
        raise CatalogueError(f"expected the catalogue {name!r} to be listed, it {reason}")
    if unknown:
        name = min(unknown)
        near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
        raise UnknownNameError(
            f"expected pretrained architectures of the catalogues, got {name!r}"
            + (f"; did you mean {', '.join(near)}?" if near else "")
        )


def _own_version() -> str:
    try:
        return metadata.version("zoo-index")
    except metadata.PackageNotFoundError:
        return ""


def _pass_on_interrupt(error: BaseException | None) -> None:
    """Raise an interrupt that came while a library was imported, which makes another error of it."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise error
        error = error.__cause__ or error.__context__


def outdated_local(target: Store) -> tuple[list[CatalogueEntry], list[str]]:
    """Local entries that an older version standardized: those whose file is here, and names of the others."""
    here, gone = [], []
    with target.reading() as connection:
        generation = queries.generation(connection)
        for row in queries.outdated(connection, generation, FEATURES):
            if row["catalogue"] != "local":
                continue
            if row["path"] and os.path.isfile(row["path"]):
                here += queries.catalogue_entries(connection, generation, "local", row["name"])
            else:
                gone.append(row["name"])
    return here, gone
