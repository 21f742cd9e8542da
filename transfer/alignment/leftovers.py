"""What the dynamic programme leaves over: layers that it cannot align because their order differs.

Branches that stand side by side run one after the other, in an order that is up to the code; so do tokens and
positions before they are added, and norms of queries and keys. The programme is monotone and drops one of two
layers that are exchanged. What is left on both sides is handed to each other by shape, in order: first within
blocks that are aligned, then among the layers outside blocks, then layers of the same kind everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from transfer.alignment.matching import Alignment, LayerPair
from transfer.rearrangement import without_ones
from transfer.structure.layers import is_spatial, is_weighted
from transfer.structure.records import Architecture, Layer

__all__ = ["complete"]

_MOST = 0.7
"""Part of the target's layers with equal counterparts; then the others are fed whatever block they lie in."""

_Key = Callable[[Layer], Hashable]
"""Layers with an equal key can take each other's place; None can take nobody's."""


def complete(alignment: Alignment, taken: tuple[Collection[str], Collection[str]] = ((), ())) -> Alignment:
    """Pair layers that are left on both sides, and those that are only cropped or grown so far.

    Parameters
    ----------
    alignment : Alignment
        In ``dpiat`` form.
    taken : (collection of str, collection of str)
        Paths of layers of source and target that are fed otherwise.

    Returns
    -------
    Alignment
        Its value is as before. A pair of the given one is replaced only by a pair of equal shapes whose source
        layer fed nothing; a block that nothing feeds stays so.
    """
    sides = _Side.of(alignment.source), _Side.of(alignment.target)
    state = _State(*sides, {sides[1].position[p.target.path]: p for p in alignment.pairs}, taken)
    within = dict.fromkeys((pair.source_item, pair.target_item) for pair in alignment.pairs)
    while state.is_changing():
        wanting = state.wanting_items()
        for s_item, t_item in within:
            if t_item not in wanting:
                continue
            state.hand_out(sides[0].of_item(s_item), sides[1].of_item(t_item), _KEYS)
        everything = range(len(sides[0].layers))
        if state.is_nearly_equal:
            state.hand_out(everything, range(len(sides[1].layers)), _KEYS)
        state.hand_out(sides[0].singles(), sides[1].singles(), _KEYS)
        state.hand_out(everything, state.unfed_maps(), _KEYS[:1])
    state.uncross()
    return replace(alignment, pairs=tuple(state.pairs[t] for t in sorted(state.pairs)))


@dataclass(frozen=True)
class _Side:
    """The layers of an architecture in order."""

    layers: list[Layer]
    items: list[int]
    starts: list[int]
    position: dict[str, int]

    @classmethod
    def of(cls, architecture: Architecture) -> _Side:
        items = [i for i, item in enumerate(architecture.items) for _ in item.layers]
        layers = list(architecture.layers())
        starts = np.cumsum([0, *(len(item.layers) for item in architecture.items)]).tolist()
        return cls(layers, items, starts, {layer.path: i for i, layer in enumerate(layers)})

    def of_item(self, item: int) -> range:
        return range(self.starts[item], self.starts[item + 1])

    def singles(self) -> list[int]:
        """Positions of the layers outside blocks."""
        return [a for a, b in pairwise(self.starts) if b == a + 1]


class _State:
    """Pairs so far, by position in the target, and what they leave."""

    def __init__(
        self,
        source: _Side,
        target: _Side,
        pairs: dict[int, LayerPair],
        taken: tuple[Collection[str], Collection[str]],
    ) -> None:
        self.source, self.target, self.pairs = source, target, pairs
        self._taken = {source.position[path] for path in taken[0]}, {target.position[path] for path in taken[1]}
        self._fed: dict[int, list[int]] = {}  # what each source layer feeds
        for t, pair in pairs.items():
            self._fed.setdefault(source.position[pair.source.path], []).append(t)
        self._exact = {t for t, pair in pairs.items() if _is_exact(pair)}
        self._seen = -1
        self._made: set[int] = set()

    def is_changing(self) -> bool:
        """Whether anything was paired since this was asked last."""
        seen, self._seen = self._seen, len(self._made)
        return seen != len(self._made)

    @property
    def is_nearly_equal(self) -> bool:
        """Whether most layers of the target have an equal one, so that the others can only be the rest of these."""
        n_open = len(self.target.layers) - len(self._taken[1])
        return len(self._exact - self._taken[1]) >= _MOST * n_open

    def unfed_maps(self) -> list[int]:
        """Positions in the target that nothing feeds, in items of which some layers are fed; without vectors."""
        fed = {pair.target_item for pair in self.pairs.values()}
        return [
            t
            for t, item in enumerate(self.target.items)
            if item in fed and t not in self.pairs and not _is_vector(self.target.layers[t])
        ]

    def wanting_items(self) -> set[int]:
        """Items of the target with a layer that could be fed better."""
        are_near = self.is_nearly_equal
        return {item for t, item in enumerate(self.target.items) if self._is_wanting(t, are_near=are_near)}

    def hand_out(self, sources: Sequence[int], targets: Sequence[int], keys: Sequence[_Key]) -> None:
        """Pair what is left of some layers with each other."""
        are_near = self.is_nearly_equal
        for key in keys:
            left = [s for s in sources if s not in self._fed and s not in self._taken[0]]
            wanting = [t for t in targets if self._is_wanting(t, are_near=are_near)] if left else []
            if not wanting:  # as a rule
                return
            if key is _flattened:
                wanting = [t for t in wanting if not self._is_resized(t)]
            free = _by_class(self.source.layers, left, key)
            open_ = _by_class(self.target.layers, wanting, key)
            for shared, places in open_.items():
                for s, t in _in_order(free.get(shared, []), places, self._expected):
                    self._pair(s, t)

    def uncross(self) -> None:
        """Exchange what feeds two layers if each of them has what the other one is equal to."""
        crossed: dict[tuple[Hashable, Hashable], list[int]] = {}
        for t, pair in self.pairs.items():
            if t not in self._exact and not _is_vector(pair.target):
                crossed.setdefault((_with_roles(pair.source), _with_roles(pair.target)), []).append(t)
        for (own, other), places in crossed.items():
            for t, u in zip(places, crossed.get((other, own), ()), strict=False):
                if t < u and own != other:
                    one, another = self.pairs[t], self.pairs[u]
                    for place, fed, source in ((t, one, another), (u, another, one)):
                        pair = replace(fed, source=source.source, score=1.0, source_item=source.source_item)
                        self.pairs[place] = pair

    def _is_wanting(self, t: int, *, are_near: bool) -> bool:
        """Whether a layer has no equal one, or one that feeds an earlier layer as well.

        A vector that is fed goes with the layer beside it, unless the networks are nearly equal: that another one
        is as long says little.
        """
        if t in self.pairs and not are_near and _is_vector(self.target.layers[t]):
            return False
        if t in self._exact:
            return min(self._fed[self.source.position[self.pairs[t].source.path]]) != t
        return t not in self._taken[1]

    def _is_resized(self, t: int) -> bool:
        """Whether a kernel is fed by one of another size, between the same channels; as many numbers say less."""
        own, fed = self.target.layers[t].dims, self.pairs[t].source.dims if t in self.pairs else None
        return own is not None and fed is not None and len(own) == len(fed) > 2 and own[:2] == fed[:2]

    def _pair(self, s: int, t: int) -> None:
        if t in self.pairs:
            before = self.source.position[self.pairs[t].source.path]
            self._fed[before].remove(t)
            if not self._fed[before]:
                del self._fed[before]
        own, other = self.source.layers[s], self.target.layers[t]
        self.pairs[t] = LayerPair(own, other, 1.0, self.source.items[s], self.target.items[t])
        self._fed[s] = [t]
        self._exact.add(t)
        self._made.add(t)

    def _expected(self, s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Places in the target that correspond to places in the source, by what is paired."""
        known = sorted((s, fed[-1]) for s, fed in self._fed.items())
        ends = [(-1, -1), (len(self.source.layers), len(self.target.layers))]
        own, other = zip(*sorted([*known, *ends]), strict=True)
        return np.asarray(np.interp(s, own, other), dtype=np.float64)


def _is_exact(pair: LayerPair) -> bool:
    """Whether a layer is fed by one of equal tensors."""
    if _squeezed(pair.source) != _squeezed(pair.target):
        return False
    own, other = pair.source.tensors, pair.target.tensors
    return len(own) == 1 == len(other) or {x.role for x in own} == {x.role for x in other}


def _by_class(layers: Sequence[Layer], places: Iterable[int], key: _Key) -> dict[Hashable, list[int]]:
    found: dict[Hashable, list[int]] = {}
    for place in places:
        shared = key(layers[place])
        if shared is not None:
            found.setdefault(shared, []).append(place)
    return found


def _in_order(
    sources: Sequence[int], targets: Sequence[int], expected: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> Iterator[tuple[int, int]]:
    """Pair as many as there are, none crossing; of several ways the one that moves layers least."""
    n, m = len(sources), len(targets)
    if n == m or not n or not m:
        yield from zip(sources, targets, strict=False)
        return
    moved = np.abs(expected(np.array(sources, dtype=np.float64))[:, None] - np.array(targets)[None, :])
    if n > m:
        yield from ((sources[i], targets[j]) for j, i in _least(moved.T))
    else:
        yield from ((sources[i], targets[j]) for i, j in _least(moved))


def _least(moved: NDArray[np.float64]) -> Iterator[tuple[int, int]]:
    """Give each row a column of its own, none crossing, such that the sum is least."""
    n, m = moved.shape
    cost = np.full((n + 1, m + 1), np.inf)
    cost[0] = 0.0
    for i in range(n):
        for j in range(i, m):
            cost[i + 1, j + 1] = min(cost[i + 1, j], cost[i, j] + moved[i, j])
    j = m
    for i in range(n, 0, -1):
        while cost[i, j] == cost[i, j - 1]:
            j -= 1
        j -= 1
        yield i - 1, j


def _squeezed(layer: Layer) -> tuple[int, ...]:
    return without_ones(layer.dims or ())


def _is_vector(layer: Layer) -> bool:
    """Whether a layer is a number for each channel: many others are as long by chance."""
    return len(_squeezed(layer)) < 2


def _same_kind(layer: Layer) -> Hashable:
    """Group layers that are exchanged for each other whole."""
    if layer.dims is None:
        return None
    if is_weighted(layer):
        n = len(layer.dims)
        while n > 2 and layer.dims[n - 1] == 1:
            n -= 1
        return "map", layer.dims[:n]
    if layer.is_factor:
        return "map", layer.dims[::-1]
    if layer.kind.startswith("parameter"):
        return layer.kind, _squeezed(layer)
    return layer.kind, tuple(tensor.role for tensor in layer.tensors), _squeezed(layer)


def _with_roles(layer: Layer) -> Hashable:
    """Group layers that hold equal tensors."""
    return _same_kind(layer), tuple(sorted(tensor.role for tensor in layer.tensors))


def _bare(layer: Layer) -> Hashable:
    """Group tensors that stand alone, whatever they are called, and scales with shifts, whatever their shape."""
    if len(layer.tensors) == 1:
        is_bare = layer.kind in ("norm", "linear") or layer.kind.startswith("parameter")
        is_bare &= layer.tensors[0].is_continuous and not layer.is_factor
        return ("bare", _squeezed(layer)) if is_bare else None
    shapes = {without_ones(tensor.shape) for tensor in layer.tensors}
    is_scale = len(shapes) == 1 and len(_squeezed(layer)) == 1 and layer.kind != "batchnorm"
    return ("scale", *sorted(tensor.role for tensor in layer.tensors), _squeezed(layer)) if is_scale else None


def _flattened(layer: Layer) -> Hashable:
    """Group maps that read all of a feature map: flattened, or by a kernel of its size."""
    if not is_weighted(layer) or layer.dims is None or not (layer.kind == "linear" or is_spatial(layer)):
        return None
    n_out, *rest = layer.dims
    return "flattened", n_out, int(np.prod(rest))


_KEYS = (_same_kind, _bare, _flattened)
