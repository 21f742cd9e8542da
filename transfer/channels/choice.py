"""One channel choice per coupled group: which channels each matched pair of layers exchanges.

By default the leading ones, everywhere, so that coupled layers agree without being traced. Where the position of a
channel means more than its rank, this module says which go where: the parts of fused layers, the segments of
concatenations, the groups of grouped convolutions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from transfer.alignment.matching import Alignment, LayerPair
from transfer.channels.attention import attention_channels
from transfer.channels.bundle_rows import joined
from transfer.channels.bundles import bundle_channels
from transfer.channels.concatenation import concatenated_inputs, total_width
from transfer.channels.flattening import flattened_channels
from transfer.channels.grouping import axis_of, group_width, place_groups, spans_within_groups
from transfer.operators import LEADING, Channels
from transfer.options import Options
from transfer.structure.meaning import head_paths, is_dense, is_weighted, out_width
from transfer.structure.records import Block, Layer

if TYPE_CHECKING:
    from torch import nn

    from transfer.tracing.flow import Flow

__all__ = ["choose_channels"]


def choose_channels(
    alignment: Alignment, options: Options, module: nn.Module | None, inserted: Collection[int] = ()
) -> dict[str, Channels]:
    """Choose the channels of every matched pair of layers.

    Parameters
    ----------
    alignment : Alignment
    options : Options
    module : nn.Module or None
        The target, where there is one: it is run to find the segments.
    inserted : collection of int
        Items of the target that the source has no counterpart of.

    Returns
    -------
    dict of str to Channels
        By the path of the target layer; layers that are not in it take the leading channels.
    """
    flow: Flow | None = None
    segments = _segments(alignment)
    heads = head_paths(alignment.target)  # of other classes as a rule, which is no reason to look further
    widths = ((p.source.dims or (), p.target.dims or (), int(p.target.path in heads)) for p in alignment.pairs)
    changed = any(a[is_head:] != b[is_head:] for a, b, is_head in widths)
    if module is not None and (changed or segments):
        from transfer.tracing.flow import trace_flow

        flow = trace_flow(module)
    traced = bundle_channels(alignment, flow, inserted) if flow else {}
    found = flattened_channels(alignment) | segments if flow is None else segments
    for _, members in groupby(alignment.pairs, key=lambda pair: pair.target_item):
        found |= _groups(alignment, list(members), traced)
    found |= traced
    if options.split_fused:
        found |= _heads(alignment, traced, flow)
    return {path: channels for path, channels in found.items() if channels != LEADING}


def _heads(alignment: Alignment, traced: Mapping[str, Channels], flow: Flow | None) -> dict[str, Channels]:
    """Query, key and value, or value and gate, each by itself, and heads whole, if they were seen to lie so."""
    found: dict[str, Channels] = {}
    for pair in alignment.pairs:
        source, target = alignment.source.items[pair.source_item], alignment.target.items[pair.target_item]
        is_other = is_weighted(pair.target) and out_width(pair.source) != out_width(pair.target)
        if is_other and isinstance(source, Block) and isinstance(target, Block):
            channels = attention_channels(source.layers, target.layers, pair.source, pair.target)
            if channels and _is_possible(channels[pair.target.path], pair, traced, flow):
                found |= channels
    return found


def _is_possible(placed: Channels, pair: LayerPair, traced: Mapping[str, Channels], flow: Flow | None) -> bool:
    """Whether the parts of a fused layer may lie one after the other, as shapes say, for all that was seen."""
    seen = traced.get(pair.target.path)
    row = flow.writes.get(pair.target.tensors[0].name) if flow else None
    if not row or 0 in row:
        return seen is None
    is_by_head = placed.operator == "by head" and placed.outputs
    n_heads = min(pair.source.n_heads, pair.target.n_heads) if is_by_head else 1
    n_parts = len(placed.outputs or ()) // n_heads
    a, b = out_width(pair.source) // n_parts, out_width(pair.target) // n_parts
    if seen is not None and seen.outputs == tuple((i * a, i * b, min(a, b)) for i in range(n_parts)):
        return True
    parts = [row[i : i + b] for i in range(0, len(row), b)]  # query and key have equal numbers
    is_possible = all(len(set(part)) == b for part in parts)
    return is_possible and (seen is None or (bool(is_by_head) and n_parts == 3))


def _segments(alignment: Alignment) -> dict[str, Channels]:
    """Segments of concatenated inputs, each from the segment of the matched producer."""
    ours, theirs = concatenated_inputs(alignment.target), concatenated_inputs(alignment.source)
    feeding = {pair.target_item: pair.source_item for pair in reversed(alignment.pairs)}
    found = {}
    for pair in alignment.pairs:
        targets, sources = ours.get(pair.target.path), theirs.get(pair.source.path)
        if targets is None or sources is None or _mixes(pair.target) != _mixes(pair.source):
            continue
        by_producer = {segment.producer: segment for segment in sources}
        spans = []
        for segment in targets:
            # what is no item of the architecture has a negative number, the same in both
            source = by_producer.pop(feeding.get(segment.producer, min(segment.producer, -1)), None)
            if source is not None:
                spans.append((source.start, segment.start, min(source.size, segment.size)))
        choice = tuple(joined(spans))
        if choice and choice != ((0, 0, min(total_width(sources), total_width(targets))),):
            mixes = _mixes(pair.target)
            found[pair.target.path] = Channels(
                outputs=None if mixes else choice,
                inputs=choice if mixes else None,
                operator="leading by segment",
            )
    return found


def _mixes(layer: Layer) -> bool:
    return is_weighted(layer) and is_dense(layer)


def _groups(
    alignment: Alignment, pairs: Sequence[LayerPair], traced: Mapping[str, Channels]
) -> dict[str, Channels]:
    """Whole groups of grouped convolutions that were not traced, and what is around them in the block."""
    target = alignment.target.items[pairs[0].target_item]
    found: dict[str, Channels] = {}
    if not isinstance(target, Block):
        return found
    by_path = {layer.path: i for i, layer in enumerate(target.layers)}
    matched = {pair.target.path for pair in pairs}
    for pair in pairs:
        index = by_path[pair.target.path]
        new_width = group_width(target.layers, index)
        if not new_width or pair.target.path in traced:
            continue
        source = alignment.source.items[pair.source_item]
        if not isinstance(source, Block):
            continue
        own = next(i for i, layer in enumerate(source.layers) if layer is pair.source)
        width = group_width(source.layers, own)
        are_dense = width == out_width(pair.source) and new_width == out_width(pair.target)
        if not width or width == new_width or are_dense:
            continue
        placement = place_groups(out_width(pair.source), width, out_width(pair.target), new_width)
        n_common = min(out_width(pair.source), out_width(pair.target))
        spans = tuple(placement or [(0, 0, n_common)])
        operator = "leading by group"
        connections = tuple(spans_within_groups(width, new_width, spans))
        found[pair.target.path] = Channels(outputs=spans, connections=connections, operator=operator)
        if spans != ((0, 0, n_common),):
            producers, consumers = axis_of(target.layers, index)
            for layers, choice in (
                (producers, Channels(outputs=spans, operator=operator)),
                (consumers, Channels(inputs=spans, operator=operator)),
            ):
                found.update({layer.path: choice for layer in layers if layer.path in matched})
    return found
