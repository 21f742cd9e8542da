"""Which channels go where, as far as shapes tell: for targets that are bare files, or cannot be run.

Where the target was run, the way of its channels is known (`bundles`). Then shapes are asked only for layers whose
widths contradict what was seen: the source is wired otherwise.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from itertools import groupby

from transfer.alignment.matching import Alignment, LayerPair
from transfer.channels.bundle_rows import joined
from transfer.channels.concatenation import concatenated_inputs, total_width
from transfer.channels.flattening import flattened_channels
from transfer.channels.grouping import axis_of, group_width, place_groups, spans_within_groups
from transfer.operators import Channels
from transfer.structure.layers import is_dense, is_weighted, out_width
from transfer.structure.records import Block, Layer

__all__ = ["channels_by_shape"]


def channels_by_shape(alignment: Alignment, known: Container[str] | None = None) -> dict[str, Channels]:
    """Choose channels behind flattened maps, in concatenations, and around grouped convolutions.

    Parameters
    ----------
    alignment : Alignment
    known : container of str, optional
        Paths of the target layers that are known from a run; that tells flattened maps, too.

    Returns
    -------
    dict of str to Channels
        By the path of the target layer.
    """
    found = _segments(alignment) if known is not None else flattened_channels(alignment) | _segments(alignment)
    for _, members in groupby(alignment.pairs, key=lambda pair: pair.target_item):
        found |= _groups(alignment, list(members), known or ())
    return found


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


def _groups(alignment: Alignment, pairs: Sequence[LayerPair], known: Container[str]) -> dict[str, Channels]:
    """Place the groups of one block."""
    target = alignment.target.items[pairs[0].target_item]
    found: dict[str, Channels] = {}
    if not isinstance(target, Block):
        return found
    by_path = {layer.path: i for i, layer in enumerate(target.layers)}
    matched = {pair.target.path for pair in pairs}
    for pair in pairs:
        index = by_path[pair.target.path]
        new_width = group_width(target.layers, index)
        if not new_width or pair.target.path in known:
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
