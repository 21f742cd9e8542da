"""Watched targets: after a refresh, say for which of them a better source than before has appeared.

A target is kept as its architecture, so that nothing of its code is run again at night.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from transfer.errors import InputError
from transfer.structure.notation import from_values, to_values
from zoo_index.catalogues.description import FEATURES
from zoo_index.database import watches
from zoo_index.errors import NothingFoundError, UnknownNameError
from zoo_index.foundation.plain_text import check_name
from zoo_index.recommending.answers import Filters
from zoo_index.recommending.resolve import Resolved

if TYPE_CHECKING:
    from zoo_index.zoo.zoo import Zoo

__all__ = ["Better", "Watched", "add_watch", "check_watches", "list_watches", "remove_watch"]

_LEAST_GAIN = 1e-9
"""Similarities that differ by less are the same: sums were added up in another order."""


@dataclass(frozen=True)
class Watched:
    """A target that somebody waits for a better source of.

    Parameters
    ----------
    name : str
    n_params : int
    filters : Filters
    best : str
        The best source so far; empty if there is none.
    similarity : float
        Its similarity.
    generation : int
        Of the index, when it was looked at last.
    is_outdated : bool
        Whether another version of the standardization made it; it is to be added again then.
    """

    name: str
    n_params: int
    filters: Filters
    best: str
    similarity: float
    generation: int
    is_outdated: bool


@dataclass(frozen=True)
class Better:
    """A better source than before.

    Parameters
    ----------
    name : str
        Of the watched target.
    before, now : str
        The best sources.
    similarity_before, similarity : float
        Their similarities.
    """

    name: str
    before: str
    similarity_before: float
    now: str
    similarity: float


def add_watch(zoo: Zoo, target: Resolved, name: str, filters: Filters | None = None) -> Watched:
    """Keep a target, with the best source that there is for it now.

    Parameters
    ----------
    zoo : Zoo
    target : Resolved
    name : str
        To call it; must be new.
    filters : Filters, optional
        What a source must be.

    Raises
    ------
    InputError
        If the name cannot be kept, or there is such a target.
    """
    check_name(name, "a name")
    if not name.strip():
        raise InputError("expected a name for the target, got an empty one; name it with --name")
    filters = filters or Filters()
    best, similarity = _best(zoo, target, filters)
    row = {
        "name": name,
        "architectures": json.dumps({form: to_values(each) for form, each in target.forms.items()}),
        "features": FEATURES,
        "n_params": target.n_params,
        "filters": json.dumps(asdict(filters)),
        "best": best,
        "similarity": similarity,
        "generation": zoo.view().generation,
    }
    with zoo.store.writing() as connection:
        if not watches.put_watch(connection, row):
            raise InputError(f"expected a new name, {name!r} is watched already; choose another one with --name")
    return _watched(row)


def list_watches(zoo: Zoo) -> list[Watched]:
    """Return what is watched, by name."""
    zoo.ensure()
    with zoo.store.reading() as connection:
        return [_watched(row) for row in watches.watch_rows(connection)]


def remove_watch(zoo: Zoo, name: str) -> None:
    """Watch a target no longer.

    Raises
    ------
    UnknownNameError
        If it is not watched.
    """
    zoo.ensure()
    with zoo.store.writing() as connection:
        if not watches.drop_watch(connection, name):
            raise UnknownNameError(f"expected a watched target, got {name!r}; see: zoo watch list")


def check_watches(
    zoo: Zoo, names: Sequence[str] = (), tell: Callable[[list[Better]], object] | None = None
) -> list[Better]:
    """Look whether there are better sources than last time, tell it, and note them.

    Parameters
    ----------
    zoo : Zoo
    names : sequence of str
        Of watched targets; by default all. Those that were looked at since the index changed are passed over, and
        those that are outdated.
    tell : callable, optional
        Called with what was found before that is noted: what could not be told is found again next time.

    Raises
    ------
    UnknownNameError
        If one of the names is not watched.
    """
    zoo.ensure()
    with zoo.store.reading() as connection:
        rows = {row["name"]: row for row in watches.watch_rows(connection)}
    for name in names:
        if name not in rows:
            raise UnknownNameError(f"expected a watched target, got {name!r}; see: zoo watch list")
    found, notes = [], {}
    for name, row in rows.items():
        before, generation = _watched(row), zoo.view().generation
        # which weights are here may change without the index
        is_known = before.generation == generation and not before.filters.available
        if (names and name not in names) or is_known or before.is_outdated:
            continue
        best, similarity = _best(zoo, _target(row), before.filters)
        notes[name] = {"best": best, "similarity": similarity, "generation": generation}
        if similarity > before.similarity + _LEAST_GAIN:
            found.append(Better(name, before.best, before.similarity, best, similarity))
    if tell is not None:
        tell(found)
    if notes:
        with zoo.store.writing() as connection:
            for name, note in notes.items():
                watches.note_best(connection, name, **note)
    return found


def _best(zoo: Zoo, target: Resolved, filters: Filters) -> tuple[str, float]:
    try:
        result = zoo.recommend(target, k=1, filters=filters).results[0]
    except NothingFoundError:
        return "", 0.0
    return result.name, result.similarity


def _target(row: Mapping[str, Any]) -> Resolved:
    forms = {form: from_values(values) for form, values in json.loads(row["architectures"]).items()}
    return Resolved(row["name"], row["n_params"], forms)


def _watched(row: Mapping[str, Any]) -> Watched:
    return Watched(
        row["name"],
        row["n_params"],
        Filters(**json.loads(row["filters"])),
        row["best"],
        row["similarity"],
        row["generation"],
        row["features"] != FEATURES,
    )
