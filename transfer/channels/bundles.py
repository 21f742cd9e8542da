"""Which channels go where, from the way they take through the running target.

Neighbouring channels that every layer takes together are a bundle: half of what a layer writes if that is split
in two, all of it where it is one part of a concatenation. The source is taken to be wired like the target, but
with bundles of other sizes. The sizes follow from its layers: what a layer reads, writes or scales is the sum of
its bundles; where that leaves several open, they share in proportion, but heads that follow each other stay
whole. Each bundle then keeps its leading channels. A layer whose sums do not come out even is left to what shapes
tell.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from transfer.alignment.matching import Alignment, LayerPair
from transfer.operators import Channels, Span
from transfer.structure.meaning import dims_of, is_depthwise, is_weighted

if TYPE_CHECKING:
    from transfer.tracing.flow import Flow

__all__ = ["bundle_channels", "joined"]


def bundle_channels(alignment: Alignment, flow: Flow) -> dict[str, Channels]:
    """Choose the channels of the matched layers whose bundles are known.

    Parameters
    ----------
    alignment : Alignment
    flow : Flow
        Of the target.

    Returns
    -------
    dict of str to Channels
        By the path of the target layer, also where they are the leading ones.
    """
    starts = _starts(flow)
    sides: dict[str, list[_Side]] = {}
    same = {pair.target.path for pair in alignment.pairs if pair.source.dims == pair.target.dims}
    for pair in alignment.pairs:
        sides.setdefault(pair.target.path, []).extend(_sides(pair, flow, starts))
    sizes = _solved([side for found in sides.values() for side in found])
    chosen: dict[str, Channels] = {}
    for path, found in sides.items():
        spans = {side.is_input: side.spans(sizes) for side in found}
        if not found or any(value is None for value in spans.values()):
            continue
        if any(side.is_grouped for side in found) and any(len(value or ()) > 1 for value in spans.values()):
            continue  # its weight numbers inputs within their group, and outputs read those of theirs
        if path in same:  # whatever a badly matched neighbour says of its bundles
            chosen[path] = Channels()
            continue
        outputs, inputs = (value if value and len(value) > 1 else None for value in map(spans.get, (False, True)))
        is_leading = outputs is None and inputs is None
        chosen[path] = Channels() if is_leading else Channels(outputs, inputs, operator="leading by bundle")
    return chosen


@dataclass(frozen=True, slots=True)
class _Run:
    """A bundle in a row of channels: its first channel, its size, neighbours that repeat each, whether attended."""

    bundle: int
    size: int
    repeat: int
    is_attended: bool


@dataclass(frozen=True, slots=True)
class _Side:
    """The outputs or the inputs of a matched layer: its bundles, and how many channels the source has there."""

    runs: tuple[_Run, ...]
    n_source: int
    is_input: bool
    is_grouped: bool = False
    n_heads: int = 0  # of the source, where known

    def per_head(self) -> list[tuple[_Run, ...]]:
        """Bundles head by head, if they lie so: with queries or keys, which a product sums over, in each."""
        n = len(self.runs)
        for period in (p for p in range(1, n // 2 + 1) if n % p == 0):
            heads = [self.runs[i : i + period] for i in range(0, n, period)]
            forms = {tuple((run.size, run.is_attended) for run in head) for head in heads}
            own = [bundle for head in heads for bundle in {run.bundle for run in head}]
            if len(forms) == 1 and len(set(own)) == len(own) and any(run.is_attended for run in heads[0]):
                return heads
        return []

    def spans(self, sizes: dict[int, int]) -> tuple[Span, ...] | None:
        """Bundle by bundle; None if the sizes do not sum up."""
        if any(run.bundle not in sizes for run in self.runs):
            return None
        if sum(sizes[run.bundle] * run.repeat for run in self.runs) != self.n_source:
            return None
        spans = []
        start = new_start = 0
        for run in self.runs:
            size = sizes[run.bundle] * run.repeat
            if size:
                spans.append((start, new_start, min(size, run.size * run.repeat)))
            start, new_start = start + size, new_start + run.size * run.repeat
        return tuple(joined(spans)) or None


def joined(spans: Sequence[Span]) -> list[Span]:
    """Make one of spans that go on where the last one ended, in source and target."""
    found: list[Span] = []
    for start, new_start, length in spans:
        if found and (start, new_start) == (found[-1][0] + found[-1][2], found[-1][1] + found[-1][2]):
            found[-1] = (found[-1][0], found[-1][1], found[-1][2] + length)
        else:
            found.append((start, new_start, length))
    return found


def _sides(pair: LayerPair, flow: Flow, starts: set[int]) -> Iterator[_Side]:
    layer, source = pair.target, pair.source
    name = layer.tensors[0].name
    is_mixing = is_weighted(layer) and name in flow.writes
    if is_mixing and is_weighted(source):
        n_inputs = len(flow.reads[name])
        is_grouped = len(dims_of(layer)) > 2 and n_inputs != dims_of(layer)[1]
        yield from _side(
            flow.writes[name], starts, flow.attended, dims_of(source)[0], is_input=False, n_heads=source.n_heads
        )
        n_source = dims_of(source)[1] * (source.n_groups if is_grouped else 1)
        if n_source:
            yield from _side(
                flow.reads[name], starts, flow.attended, n_source, is_input=True, is_grouped=is_grouped
            )
    elif name in flow.along and dims_of(layer)[0] == len(flow.along[name]):
        is_vector = layer.tensors[0].size == dims_of(layer)[0]
        if is_vector or is_depthwise(layer):
            yield from _side(flow.along[name], starts, flow.attended, dims_of(source)[0], is_input=False)


def _side(
    numbers: Sequence[int],
    starts: set[int],
    attended: Collection[int],
    n_source: int,
    *,
    is_input: bool,
    is_grouped: bool = False,
    n_heads: int = 0,
) -> Iterator[_Side]:
    if numbers and 0 not in numbers:
        yield _Side(tuple(_runs(numbers, starts, attended)), n_source, is_input, is_grouped, n_heads)


def _starts(flow: Flow) -> set[int]:
    """Numbers of channels at which a bundle starts: because some row of channels starts, jumps or ends there."""
    starts: set[int] = set()
    for row in {tuple(row) for rows in (flow.reads, flow.writes, flow.along) for row in rows.values()}:
        channels = [number for number, _ in groupby(row)]
        starts.update(b for a, b in zip([0, *channels], channels, strict=False) if b != a + 1 or not a)
        starts.update(a + 1 for a, b in zip(channels, [*channels[1:], 0], strict=True) if b != a + 1)
    return starts


def _runs(numbers: Sequence[int], starts: set[int], attended: Collection[int]) -> Iterator[_Run]:
    channels = [(number, len(list(members))) for number, members in groupby(numbers)]
    first, size, repeat = channels[0][0], 0, channels[0][1]
    for number, times in channels:
        if size and (number in starts or number != first + size or times != repeat):
            yield _Run(first, size, repeat, first in attended)
            first, size, repeat = number, 0, times
        size += 1
    yield _Run(first, size, repeat, first in attended)


@dataclass(slots=True)
class _Sum:
    """What is left of a side: channels of the source, and bundles of unknown size."""

    left: int
    open: list[_Run] = field(default_factory=list)


def _solved(sides: Sequence[_Side]) -> dict[int, int]:
    """Sizes of the bundles in the source, by their first channel in the target.

    Heads first, then sums with one unknown. Where there is none, the first sum shares in proportion to the sizes in
    the target.
    """
    sides = list(dict.fromkeys(sides))
    sizes: dict[int, int] = {}
    for side in sides:
        sizes |= {bundle: size for bundle, size in _heads(side).items() if bundle not in sizes}
    sums = [_Sum(side.n_source, list(side.runs)) for side in sides]
    while sums:
        rest = []
        progress = False
        for item in sums:
            item.left -= sum(sizes[run.bundle] * run.repeat for run in item.open if run.bundle in sizes)
            item.open = [run for run in item.open if run.bundle not in sizes]
            if len({run.bundle for run in item.open}) > 1:
                rest.append(item)
            elif item.open:
                progress |= _share(item, sizes)
        sums = rest
        if not progress:
            while sums and not _share(sums.pop(0), sizes):
                pass
    return sizes


def _heads(side: _Side) -> dict[int, int]:
    """Sizes of bundles that lie head by head: the first heads are those of the source, the others are new."""
    heads = side.per_head()
    if not heads:
        return {}
    width = sum(run.size for run in heads[0])
    n_heads = side.n_heads or side.n_source // width
    if not n_heads or side.n_source % n_heads or n_heads > len(heads):
        return {}
    if any(run.size * (side.n_source // n_heads) % width for run in heads[0]):
        return {}
    return {
        run.bundle: run.size * (side.n_source // n_heads) // width if h < n_heads else 0
        for h, head in enumerate(heads)
        for run in head
    }


def _share(item: _Sum, sizes: dict[int, int]) -> bool:
    """Give the open bundles of a sum their sizes in proportion, if these are whole numbers."""
    total = sum(run.size * run.repeat for run in item.open)
    if item.left < 0 or any(run.size * item.left % total for run in item.open):
        return False
    sizes.update({run.bundle: run.size * item.left // total for run in item.open})
    return True
