"""The sources of a transfer: those that are named, and what the index has for what these leave fresh."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np

from transfer.alignment.matching import match
from transfer.alignment.scaling import at_common_scale
from transfer.planning.rest import share_of
from zoo_index.database.entries import Entry
from zoo_index.errors import NothingFoundError
from zoo_index.hub.availability import Availability
from zoo_index.index import embedding
from zoo_index.recommending.answers import Filters
from zoo_index.recommending.candidates import find_candidates
from zoo_index.recommending.ordering import by_quality
from zoo_index.transferring.sources import Place, find_source

if TYPE_CHECKING:
    from transfer.structure.records import Architecture
    from zoo_index.index.view import View
    from zoo_index.recommending.resolve import NetworkSpec, Resolved
    from zoo_index.zoo.asking import Asker

__all__ = ["LEAST", "find_sources", "further_source"]

LEAST = 0.5
"""Share of what is left that a further source has to be able to supply, as `transfer.planning.rest` counts it."""

_N_COMPARED = 30
"""Sources that are compared at other widths, too."""


def find_sources(
    zoo: Asker,
    target: Callable[[], NetworkSpec | Resolved],
    named: Sequence[str | os.PathLike[str]],
    left: Callable[[Sequence[Place]], Architecture],
    *,
    n: int,
    method: str,
    filters: Filters,
    weights: str | os.PathLike[str] | None = None,
) -> list[Place]:
    """Find the sources of a transfer: those that are named, then those that suit what these leave fresh.

    Parameters
    ----------
    zoo : Asker
    target : callable
        Returns the target; called where no source is named.
    named : sequence of str or path
    left : callable
        Returns what sources leave fresh, given where they lie.
    n : int
        How many there may be.
    method : {'dpiat', 'paper'}
        The measure follows it, so that the recommended source suits what is done with it.
    filters, weights
        As for `Zoo.transfer`.

    Returns
    -------
    list of Place
        At least one; weights that are not here have been downloaded.
    """
    first = list(named) or [zoo.recommend(target(), k=1, measure=method, filters=filters).results[0].name]
    places = [find_source(source, filters, zoo.entry, weights) for source in first]
    availability = Availability()
    while len(places) < n:
        found = further_source(
            zoo.ensure(),
            left(places),
            filters=filters,
            is_available=lambda entry: availability.find(entry) is not None,
            without={place.name for place in places},
        )
        if found is None:
            break
        places.append(find_source(found["name"], filters, zoo.entry, None))
    return places


def further_source(
    view: View,
    rest: Architecture,
    *,
    filters: Filters,
    is_available: Callable[[Entry], bool],
    without: Collection[str] = (),
) -> Entry | None:
    """Find the source that can supply most of what is left of a target.

    Its layers that nothing is left for do not count against it; of sources that supply as much the one with the
    fewest layers is taken.

    Parameters
    ----------
    view : View
        Of the index.
    rest : Architecture
        What is left (`transfer.planning.rest.left_of`), in ``dpiat`` form.
    filters : Filters
    is_available : callable
        Whether the weights of an entry are on this machine.
    without : collection of str
        Names of entries that are sources already.

    Returns
    -------
    dict or None
        The entry, its weights on this machine if there are such; None if none can supply `LEAST` of it.
    """
    if not rest.n_scoring:
        return None

    def admits(entry: Entry) -> bool:
        passes = filters.admits(entry) and (not filters.available or is_available(entry))
        return passes and entry["name"] not in without

    try:
        found = find_candidates(
            view.search, view.entries, rest, k=1, exact=True, admits=admits, filters=filters.describe()
        )
    except NothingFoundError:
        return None
    table = found.table
    shares = embedding.target_row(rest, table) * np.sqrt(table.n_scoring)  # but for a factor
    ids = table.ids[np.argsort(-shares, kind="stable")[:_N_COMPARED]].tolist()
    known = view.search.shapes(ids, "dpiat")

    def value(id_: int) -> tuple[float, int]:
        _, similarity = at_common_scale(match(known[id_], rest))
        return round(share_of(similarity, known[id_], rest), 9), -known[id_].n_scoring

    best = max(ids, key=value)
    if value(best)[0] < LEAST:
        return None
    alternatives = sorted(found.entries[best], key=by_quality)
    return next(filter(is_available, alternatives), alternatives[0])
