"""Rows of channels as bundles: neighbouring channels that every layer takes together."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from transfer.regions import Span

if TYPE_CHECKING:
    from transfer.tracing.flow import Flow

__all__ = ["Run", "Side", "joined", "runs_of", "starts_of"]


@dataclass(frozen=True, slots=True)
class Run:
    """A bundle in a row of channels: its first channel, its size, neighbours that repeat each, whether attended."""

    bundle: int
    size: int
    repeat: int
    is_attended: bool


@dataclass(frozen=True, slots=True)
class Side:
    """The outputs or the inputs of a matched layer: its bundles, and how many channels the source has there."""

    runs: tuple[Run, ...]
    n_source: int
    is_input: bool
    n_heads: int  # of the source, 0 where that is not known
    n_target_heads: int
    trust: float = field(compare=False)  # how well the layers match
    reads_map: bool = False  # a linear layer, of what convolutions wrote: flattened, or pooled to a single place

    def per_head(self) -> list[tuple[Run, ...]]:
        """Bundles head by head, if they lie so: with queries or keys, which a product sums over, in each."""
        n = len(self.runs)
        for period in (p for p in range(1, n // 2 + 1) if n % p == 0):
            heads = [self.runs[i : i + period] for i in range(0, n, period)]
            forms = {tuple((run.size, run.is_attended) for run in head) for head in heads}
            own = [bundle for head in heads for bundle in {run.bundle for run in head}]
            if len(forms) == 1 and len(set(own)) == len(own) and any(run.is_attended for run in heads[0]):
                return heads
        return []

    def places(self) -> tuple[int, bool]:
        """How often each channel comes, as it does where a map was flattened, and whether place by place.

        A single time if the channels come in any other way.
        """
        own = [run.bundle for run in self.runs]
        n_distinct = len(set(own))
        repeats = {run.repeat for run in self.runs}
        if len(repeats) == 1 and len(own) == n_distinct:
            return repeats.pop(), False
        if repeats == {1} and own == own[:n_distinct] * (len(own) // n_distinct):
            return len(own) // n_distinct, True
        return 1, False

    def spans(self, sizes: Mapping[int, int]) -> tuple[Span, ...] | None:
        """Bundle by bundle; None if the sizes do not sum up."""
        if any(run.bundle not in sizes for run in self.runs):
            return None
        spans = []
        start = new_start = 0
        for run in self.runs:
            if self.is_input and start == self.n_source and not (self.reads_map and self.places()[1]):
                break  # a concatenation of fewer parts
            size = sizes[run.bundle] * run.repeat
            if size:
                spans.append((start, new_start, min(size, run.size * run.repeat)))
            start, new_start = start + size, new_start + run.size * run.repeat
        if start != self.n_source:
            return None
        return tuple(joined(spans)) or None

    def wider_heads(
        self, sizes: Mapping[int, int]
    ) -> tuple[tuple[Span, ...], tuple[float, ...], tuple[tuple[int, int], ...]] | None:
        """Spans with factors, and what to clear, where query and key of each head get more channels.

        A wider head divides its scores by a larger root: one of the two is scaled to make up for that, and the new
        channels of the other start at zero. Which of them is the query does not matter.
        """
        placed, scales, cleared = list[Span](), list[float](), list[tuple[int, int]]()
        start = new_start = 0
        for head in self.per_head():
            attended = [run for run in head if run.is_attended]
            if len(attended) != 2 or attended[0].bundle != attended[1].bundle:
                return None
            for run in head:
                size = sizes[run.bundle] * run.repeat
                if size:
                    is_first, is_second = (run is other for other in attended)
                    placed.append((start, new_start, min(size, run.size)))
                    scales.append((run.size / size) ** 0.5 if is_first and run.size > size else 1.0)
                    if is_second and run.size > size:
                        cleared.append((new_start + size, run.size - size))
                start, new_start = start + size, new_start + run.size * run.repeat
        return (tuple(placed), tuple(scales), tuple(cleared)) if cleared else None


def joined(spans: Sequence[Span]) -> list[Span]:
    """Make one of spans that go on where the last one ended, in source and target."""
    found: list[Span] = []
    for start, new_start, length in spans:
        if found and (start, new_start) == (found[-1][0] + found[-1][2], found[-1][1] + found[-1][2]):
            found[-1] = (found[-1][0], found[-1][1], found[-1][2] + length)
        else:
            found.append((start, new_start, length))
    return found


def starts_of(flow: Flow) -> set[int]:
    """Numbers of channels at which a bundle starts: because some row of channels starts, jumps or ends there."""
    starts: set[int] = set()
    for row in {tuple(row) for rows in (flow.reads, flow.writes, flow.along) for row in rows.values()}:
        channels = [number for number, _ in groupby(row)]
        starts.update(b for a, b in zip([0, *channels], channels, strict=False) if b != a + 1 or not a)
        starts.update(a + 1 for a, b in zip(channels, [*channels[1:], 0], strict=True) if b != a + 1)
    return starts


def runs_of(numbers: Sequence[int], starts: set[int], attended: Collection[int]) -> Iterator[Run]:
    """Cut a row of channels into bundles."""
    channels = [(number, len(list(members))) for number, members in groupby(numbers)]
    first, size, repeat = channels[0][0], 0, channels[0][1]
    for number, times in channels:
        if size and (number in starts or number != first + size or times != repeat):
            yield Run(first, size, repeat, first in attended)
            first, size, repeat = number, 0, times
        size += 1
    yield Run(first, size, repeat, first in attended)
