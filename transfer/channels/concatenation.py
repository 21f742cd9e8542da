"""Layers that read concatenated outputs: their input channels consist of segments with different producers.

Leading channels would shift every segment behind one that grew or that has no counterpart. Two patterns are read
from shapes:

dense chain
    blocks that each append to what they read: the next one reads as many channels more as this one gives
    (DenseNet, arXiv 1608.06993); what follows the chain reads all segments.
repetition
    what comes after a block reads twice or four times as many channels as it gives: several neighbours side by side
    (patch merging in Swin, arXiv 2103.14030), or features and others made of them (GhostNet, arXiv 1911.11907).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from transfer.structure.layers import in_width, is_depthwise, is_weighted, out_width
from transfer.structure.meaning import whole_branches
from transfer.structure.records import Architecture, Block, Item, Layer, remembered

__all__ = ["Segment", "concatenated_inputs", "concatenating_items", "total_width"]

_REPEATS = (4, 2)


@dataclass(frozen=True, slots=True)
class Segment:
    """Neighbouring input channels with one producer.

    Parameters
    ----------
    producer : int
        Position of the producing item in the architecture, or -1 - number for what a chain starts from or for one
        of several repetitions.
    start, size : int
        Channels.
    """

    producer: int
    start: int
    size: int


@remembered
def concatenated_inputs(architecture: Architecture) -> dict[str, tuple[Segment, ...]]:
    """Find the segments that layers read.

    Parameters
    ----------
    architecture : Architecture

    Returns
    -------
    dict of str to tuple of Segment
        By the path of the layer that reads: a norm, a convolution or a linear layer.
    """
    items = architecture.items
    found: dict[str, tuple[Segment, ...]] = {}
    for i, end in _chains(items):
        if end - i >= 2:
            segments = [Segment(-1, 0, _reads(items[i]))]
            for k in range(i, end):
                found.update(dict.fromkeys(_readers(items[k], segments), tuple(segments)))
                segments.append(Segment(k, segments[-1].start + segments[-1].size, _gives(items[k])))
            found.update(dict.fromkeys(_singles_after(items, end, total_width(segments)), tuple(segments)))
        else:
            width = _gives(items[i])
            for n in _REPEATS if isinstance(items[i], Block) and width else ():
                parts = tuple(Segment(-1 - k, k * width, width) for k in range(n))
                found.update(dict.fromkeys(_repeated_readers(items, i + 1, width, parts), parts))
    return found


@remembered
def concatenating_items(architecture: Architecture) -> set[int]:
    """Positions of the blocks that append to what they read."""
    branches = {
        i: whole_branches(item, is_appended=True)
        for i, item in enumerate(architecture.items)
        if isinstance(item, Block)
    }
    if any(found is not None for found in branches.values()):
        return {i for i, found in branches.items() if found}
    chains = _chains(architecture.items)
    return {i for start, end in chains if end - start >= 2 for i in range(start, end)}


def _chains(items: tuple[Item, ...]) -> Iterator[tuple[int, int]]:
    """Start and end of every dense chain, and of everything between: of one item each."""
    start = 0
    while start < len(items):
        end = _chain_end(items, start)
        end = end if end - start >= 2 else start + 1
        yield start, end
        start = end


def _chain_end(items: tuple[Item, ...], start: int) -> int:
    """One past the last block of the dense chain that starts here."""
    end = start
    while end < len(items) and isinstance(items[end], Block) and _reads(items[end]):
        if end > start and _reads(items[end]) != _reads(items[end - 1]) + _gives(items[end - 1]):
            break
        end += 1
    return end


def total_width(segments: Sequence[Segment]) -> int:
    """Count the channels of all segments."""
    return segments[-1].start + segments[-1].size


def _readers(item: Item, segments: Sequence[Segment]) -> Iterator[str]:
    """Paths of the layers of a block that read its input: the norms before, and the first weighted layer."""
    assert isinstance(item, Block)
    for layer in item.layers:
        if is_weighted(layer):
            yield layer.path
            return
        if layer.dims == (total_width(segments),):
            yield layer.path


def _repeated_readers(items: tuple[Item, ...], start: int, width: int, parts: Sequence[Segment]) -> list[str]:
    """Paths of what reads several repetitions of `width` channels after a block.

    A flattened image looks alike, but lies channel by channel: so a linear layer counts only if a norm of what it
    reads comes first, or if it halves four neighbours as patch merging does.
    """
    n = len(parts)
    following = items[start] if start < len(items) else None
    if isinstance(following, Block):
        first = next((layer for layer in following.layers if is_weighted(layer)), None)
        is_read = first is not None and first.kind.startswith("conv") and _reads(following) == n * width
        return list(_readers(following, parts)) if is_read else []
    paths = list(_singles_after(items, start, n * width))
    first_item = items[start] if start < len(items) else None
    if isinstance(first_item, Layer) and is_weighted(first_item) and not is_depthwise(first_item):
        return paths if n == 4 and out_width(first_item) == 2 * width else []
    return paths


def _singles_after(items: tuple[Item, ...], start: int, width: int) -> Iterator[str]:
    """Paths of the single layers that read `width` channels, through the first that mixes them."""
    for item in items[start:]:
        if not isinstance(item, Layer):
            return
        if is_weighted(item) and not is_depthwise(item):
            if in_width(item) == width:
                yield item.path
            return
        if not item.dims or item.dims[0] != width or len(item.dims) == 2:
            return
        yield item.path


def _reads(item: Item) -> int:
    """Count the channels that a block reads, 0 if that cannot be told."""
    weighted = _weighted(item)
    return in_width(weighted[0]) if weighted else 0


def _gives(item: Item) -> int:
    """Count the channels that a block gives, 0 if that cannot be told."""
    weighted = _weighted(item)
    return out_width(weighted[-1]) if weighted else 0


def _weighted(item: Item) -> list[Layer]:
    return [layer for layer in item.layers if is_weighted(layer)] if isinstance(item, Block) else []
