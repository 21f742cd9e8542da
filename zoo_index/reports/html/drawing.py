"""The data of a picture of a plan, written small: two networks, what happened to every tensor, what feeds what.

Numbers stand in columns, texts in one list, to which the columns refer by position: a plan of two thousand tensors
takes some hundred kilobytes. ``model.js`` reads it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from math import prod
from typing import Any

from transfer.planning.planned import STATUSES
from zoo_index.reports.outlines import ShownLayer, ShownOutline
from zoo_index.reports.shown import ShownPlan, ShownTensor

__all__ = ["drawn"]

_MOST_CHARACTERS = 10_000
"""Of one text; the rest is cut off."""

_MOST_SIZE = 2**53 - 1
"""The largest number that scripts count with."""

_REST = "in no block"
"""Tensors that the method does not look at."""

_UNKNOWN = ShownTensor("", (), "fresh", None, None, "", "", "", "", ())
"""Stands for a tensor of a layer of which the plan has no row."""


def drawn(plan: ShownPlan, outline: ShownOutline, *, target: str) -> dict[str, Any]:
    """Write what is drawn of a plan or report.

    Parameters
    ----------
    plan : ShownPlan
    outline : ShownOutline
    target : str
        What the target is called.

    Returns
    -------
    dict
        JSON values.
    """
    texts = _Texts()
    side = _Side(target, outline.target, [(row.name, row.shape) for row in plan.tensors], texts)
    names = [network.name for network in outline.sources]
    read: list[dict[str, tuple[int, ...]]] = [{} for _ in names]
    links: list[int] = []
    for row in plan.tensors:
        number = names.index(row.supplier) if row.supplier in names else 0
        for name, _ in row.fed:
            shape = row.source_shape if name == row.source and row.source_shape is not None else ()
            read[number].setdefault(name, shape)
    sources = [
        _Side(network.name, network.blocks, list(more.items()), texts)
        for network, more in zip(outline.sources, read, strict=True)
    ]
    for row in plan.tensors:
        number = names.index(row.supplier) if row.supplier in names else 0
        for name, n in row.fed:
            links += [side.place[row.name], number, sources[number].place[name], min(n, _MOST_SIZE)]
    found = {side.place[row.name]: row for row in plan.tensors}
    rows = [found.get(i, _UNKNOWN) for i in range(side.n_tensors)]
    shares = {supply.name: supply for supply in plan.supplies}
    values = {
        "target": side.values,
        "sources": [
            {
                **drawn_source.values,
                "coverage": shares[name].coverage if name in shares else plan.coverage,
                "similarity": shares[name].similarity if name in shares else plan.similarity,
            }
            for name, drawn_source in zip(names, sources, strict=True)
        ],
        "status": [STATUSES.index(row.status) for row in rows],
        "written": [min(row.n_written, _MOST_SIZE) for row in rows],
        "operator": [texts(row.operator) for row in rows],
        "reason": [texts(row.reason) for row in rows],
        "tied": [texts(row.tied_to) for row in rows],
        "links": links,
        "pairs": _scored(outline, side, sources, links),
    }
    return {**values, "texts": texts.all}  # now that every text has its number


def _scored(outline: ShownOutline, side: _Side, sources: Sequence[_Side], links: Sequence[int]) -> list[int]:
    """Write the pairs of layers with their scores in thousandths.

    A layer that is fed without having been matched, as in an inserted block, scores by how far the sizes agree.
    """
    scores = {(b, i, a): round(1000 * score) for i, a, b, score in outline.pairs}
    matched = {b for b, _, _ in scores}
    more: dict[tuple[int, int, int], int] = {}
    for t, i, u, _ in zip(*(links[k::4] for k in range(4)), strict=True):
        key = side.layer_of(t), i, sources[i].layer_of(u)
        if key not in scores and key[0] not in matched:
            sizes = side.values["sizes"][t], sources[i].values["sizes"][u]
            more.setdefault(key, round(1000 * min(sizes) / max(*sizes, 1)))
    return [n for (b, i, a), score in {**scores, **more}.items() for n in (b, i, a, score)]


class _Texts:
    """Gives every text a number."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        cut = text if len(text) <= _MOST_CHARACTERS else text[: _MOST_CHARACTERS - 3] + "..."
        return self._numbers.setdefault(cut, len(self._numbers))

    @property
    def all(self) -> list[str]:
        return list(self._numbers)


class _Side:
    """One network, its layers and tensors numbered in the order in which they are shown.

    Parameters
    ----------
    name : str
    blocks : sequence of sequence of ShownLayer
    tensors : sequence of (str, tuple of int)
        What has to be there: those that are in no layer are put where their names say, else at the end.
    texts : _Texts

    Attributes
    ----------
    place : dict
        Numbers of tensors by name.
    """

    def __init__(
        self,
        name: str,
        blocks: Sequence[Sequence[ShownLayer]],
        tensors: Sequence[tuple[str, tuple[int, ...]]],
        texts: _Texts,
    ) -> None:
        wanted = dict(tensors)
        listed = {tensor for block in blocks for layer in block for tensor, _ in layer.tensors}
        homes = {layer.path: layer for block in blocks for layer in block}
        strays: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
        for tensor, shape in wanted.items():
            if tensor not in listed:
                strays.setdefault(tensor.rpartition(".")[0], []).append((tensor, shape))
        made = [
            [
                (layer.path, layer.kind, [*layer.tensors, *(strays.pop(layer.path, []))])
                if homes[layer.path] is layer
                else (layer.path, layer.kind, list(layer.tensors))
                for layer in block
            ]
            for block in blocks
        ]
        if strays:
            made.append([(path, "other", found) for path, found in strays.items()])
        self.place: dict[str, int] = {}
        columns: dict[str, list[int]] = {key: [] for key in ("names", "shapes", "sizes", "layers", "ends")}
        labels = []
        for i, block in enumerate(made):
            labels.append(texts(_REST if strays and i == len(blocks) else _label([path for path, _, _ in block])))
            for path, kind, found in block:
                for tensor, shape in found:
                    self.place.setdefault(tensor, len(columns["names"]))
                    is_inside = bool(path) and tensor.startswith(f"{path}.")
                    columns["names"].append(texts(tensor[len(path) + 1 :]) if is_inside else -1 - texts(tensor))
                    columns["shapes"].append(texts("×".join(map(str, shape)) or "scalar"))
                    columns["sizes"].append(min(prod(shape), _MOST_SIZE))
                columns["layers"] += [texts(path), texts(kind), len(columns["names"])]
            columns["ends"].append(len(columns["layers"]) // 3)
        self.n_tensors = len(columns["names"])
        self._ends = columns["layers"][2::3]
        self.values: dict[str, Any] = {"name": name, "blocks": labels, **columns}

    def layer_of(self, tensor: int) -> int:
        """Return the number of the layer that has a tensor."""
        return bisect_right(self._ends, tensor)


def _label(paths: Sequence[str]) -> str:
    """Name a block after what the paths of its layers begin with."""
    common = _common([path.split(".") for path in paths])
    if common or len(paths) == 1:
        return ".".join(common) or paths[0] or "(the network itself)"
    return f"{paths[0]} to {paths[-1]}"


def _common(paths: Iterable[Sequence[str]]) -> list[str]:
    found: list[str] = []
    for level in zip(*paths, strict=False):
        if len(set(level)) > 1:
            break
        found.append(level[0])
    return found
