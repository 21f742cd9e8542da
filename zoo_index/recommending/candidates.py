"""Which sources are scored exactly for a target: all of a small index, a shortlist of a large one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from transfer.structure.records import Architecture, Form
from zoo_index.database.entries import Entries, Entry
from zoo_index.database.loading import StoredTable
from zoo_index.errors import NothingFoundError
from zoo_index.index import embedding
from zoo_index.index.search import Search

__all__ = ["Candidates", "find_candidates"]

_MORE = 4
"""Factor by which a shortlist grows until enough of it passes the filters."""


@dataclass(frozen=True)
class Candidates:
    """Sources to score.

    Parameters
    ----------
    table : StoredTable
    entries : dict of int to list of Entry
        Those that may be shown of each architecture, by its id, the preferred one first.
    n_considered : int
        Architectures that they were chosen from.
    """

    table: StoredTable
    entries: dict[int, list[Entry]]
    n_considered: int


def find_candidates(
    search: Search,
    entries: Entries,
    target: Architecture,
    *,
    k: int,
    exact: bool,
    admits: Callable[[Entry], bool],
    filters: str,
) -> Candidates:
    """Choose the sources to score for a target.

    Parameters
    ----------
    search : Search
    entries : Entries
    target : Architecture
        Its form says which measure is asked for.
    k : int
        How many results are wanted.
    exact : bool
        Take all, however many there are.
    admits : callable
        Whether an entry may be shown.
    filters : str
        What to call them in messages.

    Returns
    -------
    Candidates

    Raises
    ------
    NothingFoundError
        If no architecture is admitted, or none of those that are has the form.
    """
    n_wanted = max(embedding.N_CANDIDATES, k)
    n = entries.n_architectures
    if exact or target.form != embedding.MEASURE or n <= max(embedding.MOST_EXACT, n_wanted):
        return _everything(search, entries, target.form, admits, filters)
    n_near, others = n_wanted, search.without_vector(n).tolist()
    while True:
        near = search.nearest(target, n_near).tolist()
        admitted = _by_architecture(filter(admits, entries.of([*near, *others])))
        if len(admitted) >= n_wanted or n_near >= n:
            break
        n_near *= _MORE
    if not admitted:
        raise _nothing(filters)
    ids = [id_ for id_ in near if id_ in admitted][:n_wanted] + [id_ for id_ in others if id_ in admitted]
    table = search.table_of(np.sort(np.array(ids, dtype=np.int64)), target.form)
    return Candidates(table, {id_: admitted[id_] for id_ in ids}, n)


def load(search: Search, entries: Entries, form: Form) -> None:
    """Read what `find_candidates` takes for any target, so that it is there when it is asked for.

    Parameters
    ----------
    search : Search
    entries : Entries
    form : {'dpiat', 'paper'}
    """
    if form != embedding.MEASURE or entries.n_architectures <= embedding.MOST_EXACT:
        len(entries.all)  # reads it, and keeps it
        search.table(form)
    else:
        len(search.vector_index)


def _everything(
    search: Search, entries: Entries, form: Form, admits: Callable[[Entry], bool], filters: str
) -> Candidates:
    admitted = _by_architecture(filter(admits, entries.all))
    if not admitted:
        raise _nothing(filters)
    table = search.table(form)
    ids = np.intersect1d(np.array(list(admitted), dtype=np.int64), table.ids)
    if not len(ids):
        raise NothingFoundError(
            f"expected sources with a {form!r} form, the {len(admitted)} that pass the filters are known by their "
            "tensors only; use measure and method 'dpiat'"
        )
    return Candidates(table if len(ids) == len(table.ids) else table.select(ids), admitted, len(ids))


def _by_architecture(entries: Iterable[Entry]) -> dict[int, list[Entry]]:
    found: dict[int, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry["architecture_id"], []).append(entry)
    return found


def _nothing(filters: str) -> NothingFoundError:
    return NothingFoundError(
        f"expected sources that pass the filters ({filters or 'none'}), found none; "
        "relax them, or see what there is: zoo list"
    )
