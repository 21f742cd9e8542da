"""Queries, keys and values laid out otherwise: rows of the source in the places where the target has them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from transfer.planning.planned import PlannedTensor, TransferPlan
from transfer.regions import Region
from transfer.structure.records import Layer
from transfer.tracing.heads import Attention

__all__ = ["laid_out"]

_Places = dict[int, tuple[str, int]]
"""For each row of a target's weight a weight of the source and a row of it."""


def laid_out(planned: TransferPlan, ours: Sequence[Attention], theirs: Sequence[Attention]) -> TransferPlan:
    """Take every row of queries, keys and values from the same row of the same head.

    Parameters
    ----------
    planned : TransferPlan
        Says which layers feed an attention.
    ours, theirs : sequence of Attention
        Of the target and of the source.

    Returns
    -------
    TransferPlan
        The same one if nothing lies otherwise than it thought. Attentions of other numbers of heads or channels
        stay as they are.
    """
    rows = {row.name: row for row in planned.tensors}
    layers = [_by_weight(side.layers()) for side in (planned.alignment.target, planned.alignment.source)]
    changed: dict[str, PlannedTensor] = {}
    for name, places in _places(rows, ours, theirs).items():
        own = layers[0].get(name)
        if own is None or sorted(places) != list(range(own.tensors[0].shape[0])):
            continue
        sources = {source: layers[1].get(source) for source, _ in places.values()}
        known = {source: layer for source, layer in sources.items() if layer is not None}
        if len(known) == len(sources) and places != _planned_places(rows[name]):
            changed |= _moved(own, known, places, rows)
    tensors = tuple(changed.get(row.name, row) for row in planned.tensors)
    return planned if tensors == planned.tensors else replace(planned, tensors=tensors)


def _by_weight(layers: Iterator[Layer]) -> dict[str, Layer]:
    """Layers by the names of their weights, but for those that are stored with their inputs first."""
    return {
        layer.tensors[0].name: layer for layer in layers if layer.tensors and not layer.tensors[0].is_input_first
    }


def _places(
    rows: Mapping[str, PlannedTensor], ours: Sequence[Attention], theirs: Sequence[Attention]
) -> dict[str, _Places]:
    """Pair the attentions as their layers are paired, and the rows of their weights head by head."""
    owner = {name: attention for attention in theirs for name in attention.names()}
    found: dict[str, _Places] = {}
    for own in ours:
        fed = (
            owner[source]
            for name in own.names()
            if name in rows
            for source in rows[name].sources
            if source in owner
        )
        other = next(fed, None)
        if other is None:
            continue
        parts = list(zip(_parts(own), _parts(other), strict=True))
        if all(list(map(len, a)) == list(map(len, b)) for a, b in parts):
            for a, b in parts:
                for head, other_head in zip(a, b, strict=True):
                    for (name, row), source in zip(head, other_head, strict=True):
                        found.setdefault(name, {})[row] = source
    return found


def _planned_places(row: PlannedTensor) -> _Places:
    """Rows that are planned to be copied, by their places in the target."""
    return {
        region.target_start[0] + i: (region.tensor or row.source or "", region.source_start[0] + i)
        for region in row.regions
        for i in range(region.size[0])
    }


def _parts(attention: Attention) -> tuple[Sequence[Sequence[tuple[str, int]]], ...]:
    return attention.queries, attention.keys, attention.values


def _moved(
    own: Layer, sources: Mapping[str, Layer], places: _Places, rows: Mapping[str, PlannedTensor]
) -> dict[str, PlannedTensor]:
    """Plan the tensors of a layer anew; none unless all are copied as they are, from sources of their size."""
    planned = [rows.get(tensor.name) for tensor in own.tensors]
    if any(row is None or row.status != "copied" or row.transform or row.folding for row in planned):
        return {}
    found = {}
    for tensor in own.tensors:
        given = {
            name: next((t for t in layer.tensors if t.role == tensor.role), None) for name, layer in sources.items()
        }
        regions: list[Region] = []
        for name, start, source_start, n in _runs(places):
            source = given[name]
            if source is None or source.shape[1:] != tensor.shape[1:]:
                return {}
            rest = (0,) * (len(tensor.shape) - 1)
            regions.append(
                Region(
                    (source_start, *rest),
                    (start, *rest),
                    (n, *tensor.shape[1:]),
                    source.name if len(given) > 1 else "",
                )
            )
        first = next(source for source in given.values() if source is not None)
        found[tensor.name] = PlannedTensor(
            tensor.name,
            tensor.shape,
            "copied",
            first.name,
            first.shape,
            "by head",
            tuple(regions),
            reason="queries, keys and values lie in another order in the source",
        )
    return found


def _runs(places: _Places) -> Iterator[tuple[str, int, int, int]]:
    """Yield name of the source, start in the target, start in the source, length of rows that stay together."""
    run: tuple[str, int, int, int] | None = None
    for row in sorted(places):
        name, source_row = places[row]
        if run is not None and name == run[0] and source_row == run[2] + run[3]:
            run = (*run[:3], run[3] + 1)
            continue
        if run is not None:
            yield run
        run = name, row, source_row, 1
    if run is not None:
        yield run
