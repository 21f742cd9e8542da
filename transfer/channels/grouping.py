"""Grouped convolutions: which groups of the source go into which groups of the target.

A grouped convolution reads, for each output, only the channels of its group, and its weight numbers them from the
start of the group. So where groups differ in width, channels have to be placed such that whole source groups lie
within target groups; the layers around the convolution then follow the same placement.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from transfer.channels.gates import gate_end
from transfer.regions import Span
from transfer.structure.layers import in_width, is_dense, is_weighted, out_width
from transfer.structure.records import Layer

__all__ = ["axis_of", "group_width", "place_groups", "spans_within_groups"]


def group_width(layers: Sequence[Layer], index: int) -> int:
    """Count the channels per group of a convolution that keeps its number of channels, 0 for any other layer.

    All channels are one group of a dense convolution; a depthwise one has one channel per group.

    Parameters
    ----------
    layers : sequence of Layer
        Of one block.
    index : int

    Returns
    -------
    int
    """
    layer = layers[index]
    if not layer.kind.startswith("conv") or layer.dims is None or all(k == 1 for k in layer.dims[2:]):
        return 0
    n_outputs, width = layer.dims[:2]
    if layer.n_groups and layer.n_groups * width != n_outputs:
        return 0  # it changes the number of channels
    before = next((other for other in reversed(layers[:index]) if is_weighted(other)), None)
    if before is None or out_width(before) != n_outputs or n_outputs % width:
        return 0
    if in_width(before) == width < n_outputs:  # both may read the same, side by side
        return 0
    return width


def place_groups(n_channels: int, width: int, n_new: int, new_width: int) -> list[Span] | None:
    """Put as many whole groups of a source as fit into each group of a target.

    Parameters
    ----------
    n_channels, width : int
        Channels of the source, and per group.
    n_new, new_width : int
        The same of the target.

    Returns
    -------
    list of Span or None
        Neighbouring groups joined; None if they do not all fit.
    """
    per_group = new_width // width
    if not per_group or -(-(n_channels // width) // per_group) > n_new // new_width:
        return None
    spans: list[Span] = []
    for group in range(n_channels // width):
        start = group // per_group * new_width + group % per_group * width
        if spans and sum(spans[-1][1:]) == start:
            spans[-1] = (spans[-1][0], spans[-1][1], spans[-1][2] + width)
        else:
            spans.append((group * width, start, width))
    return spans


def spans_within_groups(width: int, new_width: int, placement: Sequence[Span]) -> Iterator[tuple[Span, Span]]:
    """Pairs of spans of outputs and of inputs within the group, for the weight of a grouped convolution.

    Parameters
    ----------
    width, new_width : int
        Channels per group of source and target.
    placement : sequence of Span
        Where the channels of the source go.

    Yields
    ------
    tuple of Span, Span
        Only connections that both networks have.
    """
    for start, new_start, length in placement:
        cuts = {0, length}
        cuts |= {c - start for c in range(start - start % width, start + length, width)}
        cuts |= {c - new_start for c in range(new_start - new_start % new_width, new_start + length, new_width)}
        edges = sorted(c for c in cuts if 0 <= c <= length)
        for a, b in pairwise(edges):
            shift = new_start - start
            first = (start + a) // width * width
            new_first = (new_start + a) // new_width * new_width
            low, high = max(first, new_first - shift), min(first + width, new_first + new_width - shift)
            low, high = max(low, start), min(high, start + length)
            if low < high:
                yield (start + a, new_start + a, b - a), (low - first, low + shift - new_first, high - low)


def axis_of(layers: Sequence[Layer], index: int) -> tuple[list[Layer], list[Layer]]:
    """List the layers whose outputs, and whose inputs, are the channels that a grouped convolution works on.

    Parameters
    ----------
    layers : sequence of Layer
        Of one block.
    index : int
        Of the grouped convolution, which is in neither list.

    Returns
    -------
    producers, consumers : list of Layer
        Producers are the layer before, norms, and the last layer of a squeeze-excite branch.
    """
    n = out_width(layers[index])
    before = max(i for i in range(index) if is_weighted(layers[i]))
    producers = [layer for layer in layers[before:index] if out_width(layer) == n]
    consumers: list[Layer] = []
    i = index + 1
    while i < len(layers):
        layer = layers[i]
        if not is_weighted(layer):
            producers += [layer] if layer.dims == (n,) else []
        elif in_width(layer) != n:
            break
        elif not is_dense(layer):
            producers.append(layer)
        else:
            expand = gate_end(layers, i)
            consumers.append(layer)
            if expand is None:
                break
            producers += [other for other in layers[i + 1 : expand + 1] if out_width(other) == n]
            i = expand
        i += 1
    return producers, consumers
