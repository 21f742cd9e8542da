"""Sizes of the target's bundles in the source, from what the matched layers of the source read, write and scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from transfer.channels.bundle_rows import Run, Side

__all__ = ["Tie", "solved_sizes"]


@dataclass(slots=True)
class _Sum:
    """What is left of a side: channels of the source, and bundles of unknown size."""

    left: int
    open: list[Run] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Tie:
    """Bundles before and behind a grouped convolution that consist of as many groups.

    Parameters
    ----------
    read, written : int
        First channels of the bundles.
    read_width, written_width : int
        Channels of one group.
    """

    read: int
    written: int
    read_width: int
    written_width: int

    def follow(self, sizes: dict[int, int]) -> bool:
        """Let the size of one follow from that of the other."""
        if (self.read in sizes) == (self.written in sizes):
            return False
        if self.read in sizes:
            sizes[self.written] = sizes[self.read] * self.written_width // self.read_width
        else:
            sizes[self.read] = sizes[self.written] * self.read_width // self.written_width
        return True


def solved_sizes(sides: Sequence[Side], fixed: Mapping[int, int], ties: Sequence[Tie]) -> dict[int, int]:
    """Find how many channels of the source each bundle has.

    Heads first, then sums with one unknown, those of the best matched layers first: what contradicts them is not
    heard. Where all sums have several unknowns, the first shares in proportion to the sizes in the target.

    Parameters
    ----------
    sides : sequence of Side
    fixed : mapping of int to int
        What is known.
    ties : sequence of Tie

    Returns
    -------
    dict of int to int
        By the first channel in the target; bundles of unknown size are left out.
    """
    sides = sorted(dict.fromkeys(sides), key=lambda side: -side.trust)
    sizes = dict(fixed)
    for side in sides:
        sizes |= {bundle: size for bundle, size in _heads(side).items() if bundle not in sizes}
    sums = [_Sum(side.n_source, list(side.runs)) for side in sides]
    while sums:
        rest = []
        progress = any([tie.follow(sizes) for tie in ties])
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
    while any([tie.follow(sizes) for tie in ties]):
        pass
    return sizes


def _heads(side: Side) -> dict[int, int]:
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
