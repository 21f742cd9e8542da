"""Grouped convolutions among bundles: whole groups go to whole groups, and what is around them follows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transfer.channels.bundle_sizes import Tie
from transfer.regions import Span
from transfer.structure.layers import dims_of, is_weighted

if TYPE_CHECKING:
    from transfer.alignment.matching import LayerPair
    from transfer.tracing.flow import Flow

__all__ = ["Grouped", "cut_at_groups", "grouped_of"]


@dataclass(frozen=True, slots=True)
class Grouped:
    """A matched pair of grouped convolutions.

    Parameters
    ----------
    reads, writes : tuple of int
        Numbers of the channels of the target's.
    n_groups, source_groups : int
    width, source_width : (int, int)
        Inputs and outputs per group.
    """

    reads: tuple[int, ...]
    writes: tuple[int, ...]
    n_groups: int
    source_groups: int
    width: tuple[int, int]
    source_width: tuple[int, int]

    @property
    def _per_group(self) -> int:
        """How many groups of the source go into one of the target, so that all find a place."""
        return -(-self.source_groups // self.n_groups)

    def edges(self, starts: set[int]) -> list[int]:
        """List the groups at which a bundle starts, all where widths differ; none if one starts within a group."""
        found = {0}
        for row, width in zip((self.reads, self.writes), self.width, strict=True):
            places = [i for i, number in enumerate(row) if number in starts]
            if any(i % width for i in places):
                return []
            found.update(i // width for i in places)
        return sorted(found) if self.width == self.source_width else list(range(self.n_groups))

    def stretches(self, starts: set[int]) -> Iterator[tuple[int, int, int, int]]:
        """Yield first group, number of groups, and the bundles that are read and written, stretch by stretch."""
        edges = self.edges(starts)
        for j, end in zip(edges, (*edges[1:], self.n_groups), strict=False):
            yield j, end - j, self.reads[j * self.width[0]], self.writes[j * self.width[1]]

    def own_sizes(self, starts: set[int]) -> dict[int, int]:
        """Sizes of bundles in the source where the width of groups tells them."""
        are_too_wide = any(
            self._per_group * old > new for old, new in zip(self.source_width, self.width, strict=True)
        )
        if self.width == self.source_width or (are_too_wide and self._per_group > 1):  # a single one is cropped
            return {}
        sizes: dict[int, int] = {}
        for j, _, read, written in self.stretches(starts):
            n = min(max(self.source_groups - j * self._per_group, 0), self._per_group)
            sizes |= {read: n * self.source_width[0], written: n * self.source_width[1]}
        return sizes

    def ties(self, starts: set[int]) -> list[Tie]:
        """Bundles that consist of the same groups, before and behind."""
        return [Tie(read, written, *self.source_width) for _, _, read, written in self.stretches(starts)]

    def connections(self, sizes: Mapping[int, int], starts: set[int]) -> tuple[tuple[Span, Span], ...] | None:
        """Spans of outputs, and of inputs within the group, that go from source to target; None if groups break."""
        found: list[tuple[Span, Span]] = []
        first = 0
        (n_in, n_out), (old_in, old_out) = self.width, self.source_width
        for j, n_stretch, read, written in self.stretches(starts):
            n, rest = divmod(sizes.get(read, -1), old_in)
            if rest or n * old_out != sizes.get(written):
                return None
            is_same = self.width == self.source_width
            for k in range(min(n, n_stretch if is_same else self._per_group)):
                group, at = (j + k, 0) if is_same else (j, k)
                outputs = (first + k) * old_out, group * n_out + at * old_out, min(old_out, n_out)
                inputs = 0, at * old_in, min(old_in, n_in)
                if found and found[-1][1] == inputs and _continues(found[-1][0], outputs):
                    outputs = (*found[-1][0][:2], found.pop()[0][2] + outputs[2])
                found.append((outputs, inputs))
            first += n
        return tuple(found) if found and first == self.source_groups else None


def _continues(span: Span, other: Span) -> bool:
    return span[0] + span[2] == other[0] and span[1] + span[2] == other[1]


def grouped_of(pair: LayerPair, flow: Flow) -> Grouped | None:
    """Describe a pair of convolutions with several groups each; None for any other pair, or if channels repeat."""
    name = pair.target.tensors[0].name if pair.target.tensors else ""
    if name not in flow.writes or not is_weighted(pair.source) or pair.target.is_transposed:
        return None
    reads, writes = tuple(flow.reads[name]), tuple(flow.writes[name])
    n_in, old_in = dims_of(pair.target)[1], dims_of(pair.source)[1]
    n_groups = len(reads) // n_in
    source_groups = pair.source.n_groups  # if that is not known: as many outputs as inputs in both, or neither
    source_groups = source_groups or dims_of(pair.source)[0] * len(reads) // (len(writes) * old_in)
    if n_groups < 2 or source_groups < 2 or dims_of(pair.source)[0] % source_groups:
        return None
    if any(0 in row or len(set(row)) < len(row) for row in (reads, writes)):
        return None
    width = n_in, len(writes) // n_groups
    return Grouped(
        reads, writes, n_groups, source_groups, width, (old_in, dims_of(pair.source)[0] // source_groups)
    )


def cut_at_groups(groups: Sequence[Grouped], starts: set[int]) -> None:
    """Let bundles start where they have to for groups to stay whole, before and behind a convolution alike."""
    before = -1
    while len(starts) != before:
        before = len(starts)
        for group in groups:
            for _, _, read, written in group.stretches(starts):
                starts.update((read, written))
