"""In which order siblings of a sorted file run: the one in which most of its layers meet those of another network.

Numbered siblings are a sequence, others are a set, in the same order in all nodes of a kind. Sets start in the
order that words suggest; then children are moved as long as that lets more layers meet, or layers that are called
more alike.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise, permutations

import numpy as np
from numpy.typing import NDArray

from transfer.structure.sequences import aligned, aligned_value
from transfer.structure.words import place, skeleton

__all__ = ["best_order"]

_N_ALL_ORDERS = 4
"""Among up to so many children all orders are tried."""

_N_ALL_MOVES = 12
"""Among more children than these only single ones are moved, and not far."""

_N_MOVED = 40
"""More children than these, if they bear no numbers, are names that mean nothing."""

_MAX_WORK = 120_000_000
_WORK_OF_ROW = 1500
"""Pairs of layers that may be looked at, and how many of them beginning a row is worth: about half a second."""

_MAX_SEGMENT = 3
_PLACE_OF_NUMBERS = 50.0
_MAX_ROUNDS = 4
_EPSILON = 1e-9

_Kind = tuple[str, ...]


def best_order(
    paths: Sequence[str], weights: NDArray[np.float64], like: Sequence[str]
) -> tuple[list[int], set[int]]:
    """Order layers so that they meet the layers of another network in order.

    Parameters
    ----------
    paths : sequence of str
        Of the layers, in any order.
    weights : array of shape (n_layers, n_other)
        How well each layer suits each layer of the other network, whose order is known.
    like : sequence of str
        Paths of the other network's layers.

    Returns
    -------
    order : list of int
        Positions in `paths`.
    undecided : set of int
        Layers that would meet others, or nothing, in another order that is as good.
    """
    siblings = _Siblings(paths)
    starts = siblings.suggested({}), siblings.suggested(_first_uses(like))
    values = []
    for start in starts:
        siblings.order = dict(start)
        values.append(aligned_value(weights[siblings.sorted()]))
    best = max(values)
    siblings.order = dict(starts[0] if values[0] >= best - _EPSILON else starts[1])
    reachable = weights.max(axis=1, initial=0.0)
    for _ in range(_MAX_ROUNDS):
        before = best
        for kind in sorted(siblings.order, key=len):
            if siblings.is_fixed(kind) or len(siblings.order[kind]) > _N_MOVED:
                continue
            lacking = _lacking(weights, siblings.sorted(), reachable)
            if lacking.any() and (unmet := siblings.children(kind, lacking)):
                before_kind = best
                best = _improve(siblings, kind, unmet, weights, best)
                if best > before_kind:
                    best = _spread(siblings, kind, weights, best)
        if best <= before + _EPSILON:
            break
    return siblings.sorted(), _undecided(siblings, weights, best)


def _lacking(weights: NDArray[np.float64], order: list[int], reachable: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Layers that meet no layer, or one that suits them less than another would."""
    got = np.zeros(len(weights))
    for i, j in aligned(weights[order]):
        got[order[i]] = weights[order[i], j]
    return got < reachable - _EPSILON


def _undecided(siblings: _Siblings, weights: NDArray[np.float64], best: float) -> set[int]:
    """Layers under children that can change places at no cost."""
    met = _met(weights, siblings.sorted())
    kinds = np.unique(weights, axis=0, return_inverse=True)[1].ravel()
    found: set[int] = set()
    for kind, order in siblings.order.items():
        if siblings.is_fixed(kind):
            continue
        if len(order) > _N_MOVED:
            return set(range(len(weights)))
        held = {label: siblings.layers(kind, label) for label in order if not label.isdigit()}
        said = {label: set(kinds[layers].tolist()) for label, layers in held.items()}
        for i, j in combinations(range(len(order)), 2):
            a, b = order[i], order[j]
            if a.isdigit() or b.isdigit() or (skeleton(a) == skeleton(b) and _numbers(a)) or not said[a] & said[b]:
                continue
            if not siblings.may_try(weights.shape[1]):
                return found
            exchanged = list(order)
            exchanged[i], exchanged[j] = b, a
            siblings.order[kind] = exchanged
            other = siblings.sorted()
            if aligned_value(weights[other]) >= best - _EPSILON:
                now = _met(weights, other)
                both = {*held[a].tolist(), *held[b].tolist()}
                found |= {layer for layer in both if layer not in met or now.get(layer) != met[layer]}
            siblings.order[kind] = order
    return found


def _met(weights: NDArray[np.float64], order: list[int]) -> dict[int, int]:
    """Columns that rows meet, given in an order, where the pair is worth most of what a pair is."""
    return {order[i]: j for i, j in aligned(weights[order]) if weights[order[i], j] > 0.5}


def _improve(siblings: _Siblings, kind: _Kind, unmet: set[str], weights: NDArray[np.float64], best: float) -> float:
    """Take the best move of the children of a kind of nodes, again and again."""
    while True:
        top = siblings.order[kind]
        kept = best
        for other in list(_moves(top, unmet)):
            if not siblings.may_try(weights.shape[1]):
                break
            siblings.order[kind] = other
            value = aligned_value(weights[siblings.sorted()])
            if value > best + _EPSILON:
                best, top = value, other
        siblings.order[kind] = top
        if best == kept:
            return best


def _spread(siblings: _Siblings, kind: _Kind, weights: NDArray[np.float64], best: float) -> float:
    """Order the children of nodes of the same name alike, where that is better too."""
    places = {label: float(i) for i, label in enumerate(siblings.order[kind])}
    for other, kept in siblings.order.items():
        if other[0] != kind[0] or other == kind or not siblings.may_try(weights.shape[1]):
            continue
        keys = []
        last = -1.0
        for i, label in enumerate(kept):
            last = places.get(label, last)
            keys.append((last, label not in places, i))
        siblings.order[other] = [kept[i] for *_, i in sorted(keys)]
        value = aligned_value(weights[siblings.sorted()])
        if value > best + _EPSILON:
            best = value
        else:
            siblings.order[other] = kept
    return best


def _moves(order: list[str], unmet: set[str]) -> Iterator[list[str]]:
    """Other orders: some neighbours elsewhere; numbered children stay in sequence."""
    n = len(order)
    if n <= _N_ALL_ORDERS:
        yield from (list(other) for other in permutations(order) if _in_sequence(list(other)) == list(other))
        return
    is_small = n <= _N_ALL_MOVES
    for length in range(1, min(_MAX_SEGMENT, n // 2) + 1) if is_small else (1,):
        for start in range(n - length + 1):
            segment, rest = order[start : start + length], order[:start] + order[start + length :]
            if not is_small and segment[0] not in unmet:
                continue
            for to in range(len(rest) + 1):
                if to == start or (not is_small and abs(to - start) > 2 and 2 < to < n - 3):
                    continue
                crossed = {skeleton(label) for label in rest[min(to, start) : max(to, start)]}
                if not any(skeleton(label) in crossed and _numbers(label) for label in segment):
                    yield rest[:to] + segment + rest[to:]
    for i, j in combinations(range(n), 2) if is_small else ():
        other = list(order)
        other[i], other[j] = order[j], order[i]
        if _in_sequence(other) == other:
            yield other


class _Siblings:
    """Orders of the children of all kinds of nodes, and the order of layers that they make.

    Parameters
    ----------
    paths : sequence of str
    """

    def __init__(self, paths: Sequence[str]) -> None:
        children: dict[str, dict[str, None]] = defaultdict(dict)
        split = [path.split(".") for path in paths]
        for parts in split:
            for i, part in enumerate(parts):
                children[".".join(parts[:i])][part] = None
        kinds: dict[str, _Kind] = {node: (skeleton(node), *sorted(labels)) for node, labels in children.items()}
        self.order: dict[_Kind, list[str]] = {kinds[node]: list(labels) for node, labels in children.items()}
        self._slots: dict[_Kind, dict[str, int]] = {}
        for kind, labels in self.order.items():
            n = sum(map(len, self._slots.values()))
            self._slots[kind] = {label: n + i for i, label in enumerate(labels)}
        n_slots = sum(map(len, self._slots.values()))
        self._places = np.full((max(map(len, split)), len(paths)), n_slots)
        for column, parts in enumerate(split):
            for i, part in enumerate(parts):
                self._places[i, column] = self._slots[kinds[".".join(parts[:i])]][part]
        self._rank = np.full(n_slots + 1, -1)
        self._work = 0

    def may_try(self, n_columns: int) -> bool:
        """Whether one more order may be looked at."""
        self._work += self._places.shape[1] * (n_columns + _WORK_OF_ROW)
        return self._work <= _MAX_WORK

    def suggested(self, first_uses: dict[str, int]) -> dict[_Kind, list[str]]:
        """Order children as another network that knows all their names, else as words and numbers say."""
        found = {}
        for kind, labels in self.order.items():
            places: dict[str, float] = dict.fromkeys(labels, _PLACE_OF_NUMBERS)
            names = [label for label in labels if not label.isdigit()]
            is_known = all(label in first_uses for label in names)
            places |= {label: first_uses[label] if is_known else place(label) for label in names}
            keys = {label: (places[label], _numbers(label), label) for label in labels}
            found[kind] = _in_sequence(sorted(labels, key=keys.__getitem__))
        return found

    def sorted(self) -> list[int]:
        """Positions of the layers in the order that the children of all kinds make."""
        for kind, order in self.order.items():
            slots = self._slots[kind]
            for i, label in enumerate(order):
                self._rank[slots[label]] = i
        found: list[int] = np.lexsort(self._rank[self._places][::-1]).tolist()
        return found

    def is_fixed(self, kind: _Kind) -> bool:
        """Whether the children of a kind have one order only."""
        order = self.order[kind]
        return all(skeleton(a) == skeleton(b) and _numbers(a) for a, b in pairwise(order))

    def children(self, kind: _Kind, layers: NDArray[np.bool_]) -> set[str]:
        """Children of a kind that hold any of some layers."""
        held = set(self._places[:, layers].ravel().tolist())
        return {label for label, slot in self._slots[kind].items() if slot in held}

    def layers(self, kind: _Kind, child: str) -> NDArray[np.int64]:
        """Layers that a child of a kind holds."""
        return np.flatnonzero((self._places == self._slots[kind][child]).any(axis=0))


def _in_sequence(labels: list[str]) -> list[str]:
    """Put labels that differ in their numbers only into the places of each other, in sequence."""
    members: dict[str, list[str]] = defaultdict(list)
    for label in labels:
        members[skeleton(label)].append(label)
    turns = {name: iter(sorted(found, key=_numbers)) for name, found in members.items()}
    return [next(turns[skeleton(label)]) for label in labels]


def _first_uses(paths: Sequence[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for path in paths:
        for part in path.split("."):
            found.setdefault(part, len(found))
    return found


def _numbers(label: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", label)))
