"""What the map shows: every architecture with its place and what people choose by, in columns.

A question is answered with the architectures themselves where few are in sight, else with cells of a grid: how many
lie in each, and of which family most of them are. Columns of numbers make both take milliseconds, also for an index
of a hundred thousand.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo_index.hub.availability import Availability
from zoo_index.index.layout import Layout
from zoo_index.index.view import View
from zoo_index.recommending.answers import PERMISSIVE, PERMISSIVE_NAME, STRUCTURES

__all__ = ["MOST_POINTS", "WHOLE", "Atlas", "Wanted", "Window", "make_atlas"]

MOST_POINTS = 5000
"""More architectures in sight than this are shown as cells."""

_UNKNOWN = "unknown"

Window = tuple[float, float, float, float]
"""Left, top, right and bottom of a part of the map, which is 1 wide and 1 high."""

WHOLE: Window = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Wanted:
    """What an entry must be for its architecture to be shown; of an empty tuple anything will do.

    Parameters
    ----------
    families, licenses, catalogues, tasks, datasets : tuple of str
        One of these; ``unknown`` where that is not known, ``permissive`` for all such licences.
    min_params, max_params : int, optional
    search : str
        Part of the name.
    available : bool
        Only weights that are on the machine of the index.
    """

    families: tuple[str, ...] = ()
    licenses: tuple[str, ...] = ()
    catalogues: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    min_params: int | None = None
    max_params: int | None = None
    search: str = ""
    available: bool = False


class _Codes:
    """Texts as numbers, which the columns hold; low ones for those that are counted most often."""

    def __init__(self, texts: Iterable[str], counted: Iterable[str] | None = None) -> None:
        values = list(texts)
        times = Counter(values if counted is None else counted)
        self.names = sorted(set(values), key=lambda name: (-times[name], name))
        known = {name: code for code, name in enumerate(self.names)}
        self.of = np.array([known[value] for value in values], dtype=np.int32)

    def among(self, wanted: Sequence[str]) -> NDArray[np.bool_]:
        """Which rows have one of some texts, whatever the case."""
        lowered = {text.strip().lower() for text in wanted}
        chosen = np.array([name.lower() in lowered for name in self.names], dtype=np.bool_)
        found: NDArray[np.bool_] = chosen[self.of]
        return found


class Atlas:
    """The architectures and entries of one generation of the index, in columns.

    Parameters
    ----------
    generation : int
    layout : Layout
    entries : sequence of mapping
        All of them, those of an architecture in a row, the preferred one first.
    is_available : sequence of bool
        Whether the weights of each are on this machine.
    """

    def __init__(
        self,
        generation: int,
        layout: Layout,
        entries: Sequence[Mapping[str, Any]],
        is_available: Sequence[bool],
    ) -> None:
        self.generation = generation
        owners = np.array([entry["architecture_id"] for entry in entries], dtype=np.int64)
        self.ids, first, self._owner = np.unique(owners, return_index=True, return_inverse=True)
        preferred = [entries[i] for i in first.tolist()]
        self.keys = _keys(preferred)
        self._rows = {f"{e['catalogue']}:{e['architecture']}": row for row, e in enumerate(preferred)}
        self._rows |= {key: row for row, key in enumerate(self.keys)}
        self.entry_names = [entry["name"] for entry in entries]
        self._searched = [f"{e['name']}\n{e['architecture']}".lower() for e in entries]
        self.family = _Codes(
            (entry["family"] or _UNKNOWN for entry in entries), (one["family"] or _UNKNOWN for one in preferred)
        )
        self.license = _Codes(entry["license"] or _UNKNOWN for entry in entries)
        self.catalogue = _Codes(entry["catalogue"] for entry in entries)
        self.task = _Codes(entry["task"] or _UNKNOWN for entry in entries)
        self.dataset = _Codes(entry["dataset"] or _UNKNOWN for entry in entries)
        self.params = np.array([entry["n_params"] for entry in preferred], dtype=np.int64)
        self._available = np.array(is_available, dtype=np.bool_)
        top1 = np.array([np.nan if e["top1"] is None else e["top1"] for e in entries], dtype=np.float64)
        self.top1 = np.full(len(self.ids), -np.inf)
        np.fmax.at(self.top1, self._owner, top1)
        self.family_of = self.family.of[first]
        self.catalogue_of = self.catalogue.of[first]
        self.places = np.full((len(self.ids), 2), np.nan, dtype=np.float32)
        _, here, there = np.intersect1d(self.ids, layout.ids, assume_unique=True, return_indices=True)
        self.places[here] = layout.places[there]
        self._first = first
        self._ends = np.append(first[1:], len(entries))

    def __len__(self) -> int:
        return len(self.ids)

    def row(self, key: str) -> int | None:
        """Row of the architecture with a key, or with its catalogue, a colon and its name, or None."""
        return self._rows.get(key)

    def owner(self, entry: int) -> int:
        """Row of the architecture that an entry belongs to."""
        return int(self._owner[entry])

    def matching(self, wanted: Wanted, *, any_family: bool = False) -> NDArray[np.bool_]:
        """Which entries are as wanted; of any family, if that is asked for."""
        found = np.ones(len(self.entry_names), dtype=np.bool_)
        licenses = wanted.licenses
        if PERMISSIVE_NAME in {name.strip().lower() for name in licenses}:
            licenses = (*licenses, *PERMISSIVE)
        families = () if any_family else wanted.families
        for codes, names in (
            (self.family, families),
            (self.license, licenses),
            (self.catalogue, wanted.catalogues),
            (self.task, wanted.tasks),
            (self.dataset, wanted.datasets),
        ):
            if names:
                found &= codes.among(names)
        hidden = [name for name in STRUCTURES if name not in wanted.catalogues]
        found &= ~self.catalogue.among(hidden)
        params = self.params[self._owner]
        if wanted.min_params is not None:
            found &= params >= wanted.min_params
        if wanted.max_params is not None:
            found &= params <= wanted.max_params
        if wanted.available:
            found &= self._available
        if wanted.search:
            part = wanted.search.lower()
            found &= np.array([part in text for text in self._searched], dtype=np.bool_)
        return found

    def architectures(self, entries: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Architectures that have one of some entries."""
        return np.bincount(self._owner[entries], minlength=len(self.ids)) > 0

    def by_likeness(self, rows: NDArray[np.intp], text: str) -> list[int]:
        """Order architectures by how like a text their names are: equal, begun with it, short ones first."""
        names = [self.keys[row] for row in rows.tolist()]
        wanted = text.lower()

        def key(place: int) -> tuple[bool, bool, int, str]:
            name = names[place].lower()
            return (name != wanted, not name.startswith(wanted), len(name), name)

        return sorted(range(len(names)), key=key)

    def summary(self) -> dict[str, Any]:
        """Return what can be chosen from, most frequent first."""
        return {
            "generation": self.generation,
            "architectures": len(self.ids),
            "entries": len(self.entry_names),
            "families": self.family.names,
            "licenses": self.license.names,
            "catalogues": self.catalogue.names,
        }

    def picture(self, wanted: Wanted, window: Window = WHOLE, *, cells: int = 64, most: int = MOST_POINTS) -> Any:
        """Return what is to be drawn of a part of the map, in JSON values.

        Parameters
        ----------
        wanted : Wanted
        window : tuple of float
        cells : int
            Of a row and a column, where there are too many architectures for points.
        most : int
            Of points.
        """
        admitted = self.matching(wanted, any_family=True)
        in_families = admitted & self.family.among(wanted.families) if wanted.families else admitted
        is_shown = self.architectures(in_families)
        left, top, right, bottom = window
        x, y = self.places.T
        with np.errstate(invalid="ignore"):
            inside = is_shown & (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
        rows = np.flatnonzero(inside)
        of_family = np.bincount(
            self.family_of[self.architectures(admitted)], minlength=len(self.family.names)
        ).tolist()
        found: dict[str, Any] = {
            **self.summary(),
            "counts": of_family,
            "shown": int(is_shown.sum()),
            "in_window": len(rows),
            "window": list(window),
        }
        if len(rows) > most:
            return {**found, "kind": "cells", "cells": self._cells(rows, window, cells)}
        return {**found, "kind": "points", "points": self.points(rows)}

    def points(self, rows: NDArray[np.intp]) -> dict[str, list[Any]]:
        """Columns of some architectures, a value each: places in 1/10,000, texts by their numbers in `summary`."""
        offers = self.license.of * 2 + self._available
        return {
            "name": [self.keys[row] for row in rows.tolist()],
            "x": _in_ten_thousandths(self.places[rows, 0]),
            "y": _in_ten_thousandths(self.places[rows, 1]),
            "family": self.family_of[rows].tolist(),
            "catalogue": self.catalogue_of[rows].tolist(),
            "params": self.params[rows].tolist(),
            "weights": (self._ends[rows] - self._first[rows]).tolist(),
            "top1": [None if not np.isfinite(value) else round(value, 3) for value in self.top1[rows].tolist()],
            "offers": [
                np.unique(offers[start:end]).tolist()
                for start, end in zip(self._first[rows].tolist(), self._ends[rows].tolist(), strict=True)
            ],
        }

    def _cells(self, rows: NDArray[np.intp], window: Window, n: int) -> dict[str, list[Any]]:
        """Cells of a grid that hold something: place in 1/10,000, number, most frequent family."""
        left, top, right, bottom = window
        width, height = max(right - left, 1e-9) / n, max(bottom - top, 1e-9) / n
        column = np.clip(((self.places[rows, 0] - left) / width).astype(np.int64), 0, n - 1)
        line = np.clip(((self.places[rows, 1] - top) / height).astype(np.int64), 0, n - 1)
        cell = line * n + column
        n_families = len(self.family.names)
        pairs, times = np.unique(cell * n_families + self.family_of[rows], return_counts=True)
        order = np.lexsort((-times, pairs // n_families))
        at, begin = np.unique(pairs[order] // n_families, return_index=True)
        number = np.bincount(cell, minlength=n * n)[at]
        middle = [
            np.bincount(cell, weights=self.places[rows, axis], minlength=n * n)[at] / number for axis in (0, 1)
        ]
        return {
            "x": _in_ten_thousandths(middle[0]),
            "y": _in_ten_thousandths(middle[1]),
            "n": number.tolist(),
            "family": (pairs[order][begin] % n_families).tolist(),
            "share": np.round(times[order][begin] / number, 2).tolist(),
        }


def _in_ten_thousandths(places: NDArray[Any]) -> list[int]:
    """Places as whole numbers, which are shorter to write; what has no place is at -1."""
    found: list[int] = np.where(np.isnan(places), -1, np.round(places * 10_000)).astype(int).tolist()
    return found


def _keys(preferred: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names that tell architectures apart: their own, with the catalogue before it where timm has the same."""
    seen: dict[str, int] = {}
    order = sorted(range(len(preferred)), key=lambda i: (preferred[i]["catalogue"] != "timm", i))
    keys = [""] * len(preferred)
    for i in order:
        name = preferred[i]["architecture"]
        key = name if name not in seen else f"{preferred[i]['catalogue']}:{name}"
        while key in seen:
            seen[name] += 1
            key = f"{preferred[i]['catalogue']}:{name}:{seen[name]}"
        seen[key] = seen.get(key, 0)
        keys[i] = key
    return keys


def make_atlas(view: View, layout: Layout) -> Atlas:
    """Read the entries of a generation, and look which weights are here.

    Parameters
    ----------
    view : View
    layout : Layout
    """
    availability = Availability()
    entries = sorted(view.entries.all, key=lambda entry: (entry["architecture_id"], entry["position"]))
    return Atlas(view.generation, layout, entries, [availability.find(e) is not None for e in entries])
