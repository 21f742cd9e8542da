"""The map in one file: places, filters, and, where they are not too many, all that is told of each architecture."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from zoo_index.errors import NothingFoundError
from zoo_index.index.layout import open_layout, vectors_of
from zoo_index.index.view import View
from zoo_index.recommending.answers import Filters
from zoo_index.recommending.unknown_values import unknown_values
from zoo_index.reports.html.map import map_page
from zoo_index.server.atlas import Atlas, Wanted
from zoo_index.server.details import blocks_of, entry_values, order_of
from zoo_index.server.neighbours import Neighbours, all_neighbours
from zoo_index.zoo.picking import admitted
from zoo_index.zoo.zoo import Zoo

__all__ = ["MOST_TOLD", "explore"]

MOST_TOLD = 5000
"""Architectures of which a file tells all; of more it shows places only."""

_COLUMNS = (
    "name",
    "license",
    "dataset",
    "task",
    "input_size",
    "n_classes",
    "n_bytes",
    "available",
    "hub_id",
    "url",
    "top1",
)
_SHARED = ("license", "dataset", "task", "input_size")
"""Columns of few texts, which are written once."""

Progress = Callable[[str, int, int], None]


def explore(zoo: Zoo, filters: Filters, progress: Progress = lambda phase, done, planned: None) -> tuple[str, int]:
    """Make the page.

    Parameters
    ----------
    zoo : Zoo
    filters : Filters
        Which entries are shown.
    progress : callable, optional
        Called with what is done, the number done and the number planned.

    Returns
    -------
    page : str
        HTML that needs nothing but itself.
    n : int
        Architectures in it.

    Raises
    ------
    EmptyIndexError
        If there is no index.
    NothingFoundError
        If no entry passes the filters.
    """
    view = zoo.ensure()
    rows = sorted(view.entries.all, key=lambda entry: (entry["architecture_id"], entry["position"]))
    entries = admitted(rows, filters)
    if not entries:
        hint = "; ".join(unknown_values(filters, rows)) or "relax them, or see what there is: zoo list"
        raise NothingFoundError(
            f"expected entries that pass the filters ({filters.describe() or 'none'}), found none; {hint}"
        )
    progress("placing architectures", 0, 0)
    layout = open_layout(zoo.store, view.generation)
    atlas = Atlas(view.generation, layout, entries, [entry["available"] for entry in entries])
    structures = tuple(atlas.catalogue.names)  # those of the filters, whichever they are
    picture = atlas.picture(Wanted(catalogues=structures), most=len(atlas))
    points = picture["points"]
    unplaced = len(atlas) - len(points["name"])
    notes = [filters.describe()]
    if unplaced:
        notes.append(f"{unplaced} have no place yet, see zoo index refresh")
    data: dict[str, Any] = {"map": {**picture, "hidden": unplaced}, "note": ""}
    if len(atlas) <= MOST_TOLD:
        data["details"] = _details(zoo, view, atlas, entries, points["name"], progress)
    else:
        notes.append("too many to tell all of each: zoo serve has it")
    data["note"] = "; ".join(filter(None, notes))
    return map_page(data), len(atlas)


def _details(
    zoo: Zoo,
    view: View,
    atlas: Atlas,
    entries: list[dict[str, Any]],
    names: list[str],
    progress: Progress,
) -> dict[str, Any]:
    """Tell all of each point; texts that several share are written once."""
    places = {name: place for place, name in enumerate(names)}
    rows = [atlas.row(name) for name in names]
    ids = [int(atlas.ids[row]) for row in rows if row is not None]
    known, vectors = vectors_of(zoo.store, view.generation)
    kept = np.isin(known, ids)
    near = all_neighbours(
        view.search,
        known[kept],
        vectors[kept],
        lambda done, planned: progress("comparing neighbours", done, planned),
    )
    shapes = view.search.shapes(ids, "dpiat")
    orders = order_of(view.search, ids)
    place_of = {
        id_: places[atlas.keys[row]] for row, id_ in enumerate(atlas.ids.tolist()) if atlas.keys[row] in places
    }
    weights: dict[int, list[dict[str, Any]]] = {}
    for entry in entries:
        weights.setdefault(entry["architecture_id"], []).append(entry)
    layers, blocks = _Once(), _Once()
    texts = {column: _Once() for column in _SHARED}
    told = []
    for id_ in ids:
        found = near.get(id_, Neighbours((), ()))
        told.append(
            {
                "b": [
                    [
                        one["times"],
                        blocks.number(
                            (int(one["is_block"]), one["params"], tuple(map(layers.number, one["layers"])))
                        ),
                    ]
                    for one in (blocks_of(shapes[id_]) if id_ in shapes else [])
                ],
                "s": [[place_of[other], round(score, 3)] for other, score in found.sources],
                "t": [[place_of[other], round(score, 3)] for other, score in found.targets],
                "w": [_row(entry, texts) for entry in weights[id_]],
            }
        )
    return {
        "columns": _COLUMNS,
        "texts": [texts[column].values if column in texts else None for column in _COLUMNS],
        "layers": layers.values,
        "blocks": blocks.values,
        "files": [i for i, id_ in enumerate(ids) if orders[id_] == "file"],
        "of": told,
    }


def _row(entry: Mapping[str, Any], texts: Mapping[str, _Once]) -> list[Any]:
    values = entry_values(entry, available=entry["available"])
    return [texts[column].number(values[column]) if column in texts else values[column] for column in _COLUMNS]


class _Once:
    """Values by number, each kept once."""

    def __init__(self) -> None:
        self._numbers: dict[Any, int] = {}

    @property
    def values(self) -> list[Any]:
        """All of them, by their number."""
        return list(self._numbers)

    def number(self, value: Any) -> int:
        """Return the number of a value, a new one if it is new."""
        return self._numbers.setdefault(value, len(self._numbers))
