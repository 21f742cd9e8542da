"""Which channels go where, from the way they take through the running target.

Neighbouring channels that every layer takes together are a bundle: half of what a layer writes if that is split
in two, all of it where it is one part of a concatenation, a group of a grouped convolution. The source is taken to
be wired like the target, but with bundles of other sizes. The sizes follow from its layers: what a layer reads,
writes or scales is the sum of its bundles; where that leaves several open, they share in proportion, but heads that
follow each other stay whole. Each bundle then keeps its leading channels. A layer whose sums do not come out even
is left to what shapes tell.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from transfer.alignment.matching import Alignment, LayerPair
from transfer.channels.bundle_groups import Grouped, cut_at_groups, grouped_of
from transfer.channels.bundle_rows import Side, runs_of, starts_of
from transfer.channels.bundle_sizes import solved_sizes
from transfer.channels.flattening import LEADING_BY_PLACE, MovePlaces, grids, widths_before
from transfer.operators import LEADING, Channels
from transfer.regions import Span
from transfer.structure.layers import dims_of, is_depthwise, is_pointwise, is_weighted, out_width
from transfer.structure.records import Layer

if TYPE_CHECKING:
    from transfer.tracing.flow import Flow

__all__ = ["bundle_channels"]


def bundle_channels(alignment: Alignment, flow: Flow, inserted: Collection[int] = ()) -> dict[str, Channels]:
    """Choose the channels of the matched layers whose bundles are known.

    Parameters
    ----------
    alignment : Alignment
    flow : Flow
        Of the target.
    inserted : collection of int
        Items of the target that the source has no counterpart of: what feeds them tells least of sizes.

    Returns
    -------
    dict of str to Channels
        By the path of the target layer, also where they are the leading ones.
    """
    starts = starts_of(flow)
    pairs = {pair.target.path: pair for pair in alignment.pairs}
    groups = {path: found for path, pair in pairs.items() if (found := grouped_of(pair, flow)) is not None}
    cut_at_groups(list(groups.values()), starts)
    trust = {path: pair.score - (pair.target_item in inserted) for path, pair in pairs.items()}
    maps = {
        number
        for layer in alignment.target.layers()
        if layer.kind.startswith("conv") and layer.tensors
        for number in flow.writes.get(layer.tensors[0].name, ())
    }
    sides = {path: list(_sides(pair, flow, starts, trust[path], maps)) for path, pair in pairs.items()}
    fixed: dict[int, int] = {}
    ties = []
    for path in sorted(groups, key=lambda path: -trust[path]):
        fixed = groups[path].own_sizes(starts) | fixed
        ties += groups[path].ties(starts)
    sizes = solved_sizes([side for found in sides.values() for side in found], fixed, ties)
    layers = list(alignment.target.layers())
    single = {item.path for item in alignment.target.items if isinstance(item, Layer)}
    before = {layer.path: layers[:i] for i, layer in enumerate(layers) if layer.path in single}
    widths = widths_before(alignment.source)
    chosen = {
        path: _choice(
            pairs[path],
            found,
            groups.get(path),
            sizes,
            starts,
            before.get(path),
            widths.get(pairs[path].source.path),
        )
        for path, found in sides.items()
    }
    return {path: choice for path, choice in chosen.items() if choice is not None}


def _choice(
    pair: LayerPair,
    sides: Sequence[Side],
    group: Grouped | None,
    sizes: Mapping[int, int],
    starts: set[int],
    before: Sequence[Layer] | None,
    width_before: int | None,
) -> Channels | None:
    """Bundle by bundle; None if the sizes do not sum up."""
    spans = {side.is_input: side.spans(sizes) for side in sides}
    flat = next((side for side in sides if side.reads_map), None)
    moved = None
    if flat is not None and spans[True] is None and before is not None:
        spans[True], moved = _on_other_places(flat, sizes, before, width_before)
    if not spans or None in spans.values():
        return None
    if pair.source.dims == pair.target.dims:  # whatever a badly matched neighbour says of its bundles
        return LEADING
    outputs, inputs = (None if _are_leading(value) else value for value in map(spans.get, (False, True)))
    if group is not None:
        connections = group.connections(sizes, starts)
        return Channels(outputs, connections=connections, operator="leading by group") if connections else None
    if flat is not None and (moved is not None or flat.places()[0] > 1):
        n_inputs = moved.n_inputs if moved is not None else 0
        return Channels(outputs, spans[True], transform=moved, n_inputs=n_inputs, operator=LEADING_BY_PLACE)
    if outputs is None and inputs is None:
        return LEADING
    if inputs is not None and (_has_groups(pair.source) or _has_groups(pair.target)):
        return None  # whose weight numbers inputs within their group
    channels = Channels(outputs, inputs, operator="leading by bundle")
    for side in sides:
        if not side.is_input and (heads := side.wider_heads(sizes)) is not None:
            placed, scales, cleared = heads
            channels = replace(channels, outputs=placed, scales=scales, cleared=cleared, operator="by head")
    return channels


def _on_other_places(
    side: Side, sizes: Mapping[int, int], before: Sequence[Layer], width_before: int | None
) -> tuple[tuple[Span, ...] | None, MovePlaces | None]:
    """Place the channels of a flattened map that has more places in one of the networks, if that explains it."""
    n_target, by_place = side.places()
    width = sum(sizes.get(bundle, 0) for bundle in {run.bundle for run in side.runs})
    if not width or side.n_source % width or width != width_before:
        return None, None
    moved = MovePlaces(width, *grids(before, side.n_source // width, n_target), by_place)
    spans = replace(side, n_source=moved.n_inputs).spans(sizes)
    return spans, moved if spans else None


def _sides(pair: LayerPair, flow: Flow, starts: set[int], trust: float, maps: set[int]) -> Iterator[Side]:
    layer = pair.target
    source = replace(pair.source, is_transposed=layer.is_transposed)  # a header does not tell
    name = layer.tensors[0].name
    is_linear = layer.kind == "linear" and is_pointwise(source)

    def side(numbers: Sequence[int], n_source: int, *, is_input: bool) -> Iterator[Side]:
        if numbers and n_source and 0 not in numbers:
            runs = tuple(runs_of(numbers, starts, flow.attended))
            reads_map = is_input and is_linear and maps.issuperset(numbers)
            # how many places the source has of a map says nothing of how many channels
            own_trust = trust - 1 if reads_map else trust
            yield Side(runs, n_source, is_input, source.n_heads, layer.n_heads, own_trust, reads_map)

    if is_weighted(layer) and name in flow.writes and is_weighted(source):
        yield from side(flow.writes[name], out_width(source), is_input=False)
        found = grouped_of(pair, flow)
        n_groups = found.source_groups if found is not None else max(source.n_groups, 1)
        n_inputs = dims_of(source)[0] if source.is_transposed else dims_of(source)[1] * n_groups
        yield from side(flow.reads[name], n_inputs, is_input=True)
    elif name in flow.along and dims_of(layer)[0] == len(flow.along[name]):
        is_by_channel = layer.tensors[0].size == dims_of(layer)[0] or is_depthwise(layer)
        yield from side(flow.along[name], dims_of(source)[0] if is_by_channel else 0, is_input=False)


def _are_leading(spans: Sequence[Span] | None) -> bool:
    return spans is not None and len(spans) == 1 and spans[0][:2] == (0, 0)


def _has_groups(layer: Layer) -> bool:
    return layer.n_groups > 1
