"""Sizes of the target's bundles in the source, from what the matched layers of the source read, write and scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from transfer.channels.bundle_rows import Run, Side

__all__ = ["Tie", "solved_sizes"]


@dataclass(slots=True)
class _Sum:
    """What is left of a side: channels of the source, and bundles of unknown size."""

    rank: int  # of the side, the best matched first
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
    sums = [_Sum(rank, side.n_source, list(side.runs)) for rank, side in enumerate(sides)]
    users: dict[int, list[int]] = {}
    for rank, side in enumerate(sides):
        for bundle in {run.bundle for run in side.runs}:
            users.setdefault(bundle, []).append(rank)

    def is_refused(found: Mapping[int, int], rank: int) -> bool:
        """Whether sizes contradict layers that match better than the one they come from."""
        better = {other for bundle in found for other in users[bundle] if sides[other].trust > sides[rank].trust}
        return any(_contradicts(sides[other], {**sizes, **found}) for other in better)

    def share(item: _Sum) -> bool:
        found = _shared(item)
        if not found or is_refused(found, item.rank):
            return False
        sizes.update(found)
        return True

    while sums:
        rest = []
        progress = any([tie.follow(sizes) for tie in ties])
        for item in sums:
            item.left -= sum(sizes[run.bundle] * run.repeat for run in item.open if run.bundle in sizes)
            item.open = [run for run in item.open if run.bundle not in sizes]
            if len({run.bundle for run in item.open}) > 1:
                rest.append(item)
            elif item.open:
                progress |= share(item)
        sums = rest
        if not progress:
            while sums and not share(sums.pop(0)):
                pass
    while any([tie.follow(sizes) for tie in ties]):
        pass
    return sizes


def _heads(side: Side) -> dict[int, int]:
    """Sizes of bundles that lie head by head: the first heads are those of the source, the others are new."""
    heads = side.per_head() or _whole_heads(side)
    if not heads:
        return {}
    width = sum(run.size for run in heads[0])
    are_counted = side.n_heads and len(heads) == side.n_target_heads  # not groups of queries that share a key
    n_heads = side.n_heads if are_counted else side.n_source // width
    if not n_heads or side.n_source % n_heads or n_heads > len(heads):
        return {}
    if any(run.size * (side.n_source // n_heads) % width for run in heads[0]):
        return {}
    return {
        run.bundle: run.size * (side.n_source // n_heads) // width if h < n_heads else 0
        for h, head in enumerate(heads)
        for run in head
    }


def _whole_heads(side: Side) -> list[tuple[Run, ...]]:
    """Return the heads of values, one bundle each, where both networks tell that theirs are as wide."""
    if not side.n_heads or side.n_source % side.n_heads or len(side.runs) != side.n_target_heads:
        return []
    width = side.n_source // side.n_heads
    are_apart = len({run.bundle for run in side.runs}) == len(side.runs)
    are_whole = all((run.size, run.repeat, run.is_attended) == (width, 1, False) for run in side.runs)
    return [(run,) for run in side.runs] if are_apart and are_whole else []


def _contradicts(side: Side, sizes: Mapping[int, int]) -> bool:
    """Whether a side cannot have these sizes."""
    known = [sizes[run.bundle] * run.repeat for run in side.runs if run.bundle in sizes]
    return sum(known) > side.n_source or (len(known) == len(side.runs) and sum(known) != side.n_source)


def _shared(item: _Sum) -> dict[int, int]:
    """Sizes of the open bundles of a sum in proportion, if these are whole numbers.

    Else, of equal bundles, heads, as many whole ones as there are; else none.
    """
    weights: dict[int, int] = {}
    for run in item.open:
        weights[run.bundle] = weights.get(run.bundle, 0) + run.size * run.repeat
    size = {run.bundle: run.size for run in item.open}
    total = sum(weights.values())
    if item.left < 0:
        return {}
    if not any(n * item.left % total for n in size.values()):
        return {bundle: n * item.left // total for bundle, n in size.items()}
    each = next(iter(weights.values()))
    if len(set(size.values())) == len(set(weights.values())) == 1 and item.left % each == 0:
        n_whole = item.left // each
        return {bundle: n if i < n_whole else 0 for i, (bundle, n) in enumerate(size.items())}
    return {}
