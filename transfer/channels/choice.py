"""One channel choice per coupled group: which channels each matched pair of layers exchanges.

By default the leading ones, everywhere, so that coupled layers agree without being traced. Where the position of a
channel means more than its rank, this module says which go where: the parts of fused layers, the segments of
concatenations, the groups of grouped convolutions.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from itertools import groupby
from typing import TYPE_CHECKING

from transfer.alignment.matching import Alignment, LayerPair
from transfer.channels.attention import attention_channels, repeated_heads
from transfer.channels.bundles import bundle_channels
from transfer.channels.by_shape import channels_by_shape
from transfer.operators import LEADING, Channels
from transfer.options import Options
from transfer.structure.layers import is_weighted, out_width
from transfer.structure.meaning import head_paths
from transfer.structure.records import Block

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
    heads = head_paths(alignment.target)  # of other classes as a rule, which is no reason to look further
    widths = ((p.source.dims or (), p.target.dims or (), int(p.target.path in heads)) for p in alignment.pairs)
    changed = any(a[is_head:] != b[is_head:] for a, b, is_head in widths)
    if module is not None and changed:
        from transfer.tracing.flow import trace_flow

        flow = trace_flow(module)
    traced = bundle_channels(alignment, flow, inserted) if flow else {}
    found = channels_by_shape(alignment, traced if flow else None) | traced
    if options.split_fused:
        found |= _heads(alignment, traced, flow)
    for _, members in groupby(alignment.pairs, key=lambda pair: pair.target_item):
        found |= repeated_heads(list(members))
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
