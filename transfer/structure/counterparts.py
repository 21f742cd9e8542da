"""Which layer of a network of unknown order is which layer of a network of known order.

Shapes decide: layers meet in the order of siblings that lets most of them meet (see `siblings`), the rest shape by
shape. Where shapes leave a tie, words break it (see `words`), once for all layers whose names differ in numbers
only. Query, key and value that one network keeps apart and the other fuses are told by their words alone.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from transfer.structure.dpiat_form import from_header
from transfer.structure.records import Header, Layer
from transfer.structure.sequences import aligned
from transfer.structure.siblings import best_order
from transfer.structure.units import Key, Unit, as_units
from transfer.structure.words import likeness, meanings, skeleton

__all__ = ["Counterparts", "counterparts"]

_WORDS = 0.2
"""What equal words add to equal shapes: too little to give up a meeting for."""

_MEETS = 0.7
"""Closeness from which layers hold the same numbers, perhaps written in another shape."""

_MORE_WORDS = 0.05
"""How much more alike the names of a layer and its counterpart must be, on the average, to overrule order."""

_UNDECIDED = 0.02
_N_HEADS = 2

_Value = TypeVar("_Value", bound=Hashable)


@dataclass(frozen=True)
class Counterparts:
    """What was found out about a network of unknown order.

    Parameters
    ----------
    order : tuple of Layer
        Its layers, in the order in which they seem to run.
    pairs : tuple of (layers of the source, layers of the target)
        One of each; or several of one side that the other fuses, query before key before value.
    n_open : (int, int)
        Weighted layers of the source, and of the target, that met nothing.
    undecided : set of str
        Paths of source layers that shapes, numbers and words tell from no other.
    """

    order: tuple[Layer, ...]
    pairs: tuple[tuple[tuple[Layer, ...], tuple[Layer, ...]], ...]
    n_open: tuple[int, int]
    undecided: frozenset[str]

    @property
    def is_sure(self) -> bool:
        """Whether most layers met, and next to none of them could as well have met another."""
        n = len(self.order)
        return len(self.undecided) <= n * _UNDECIDED and 2 * sum(len(source) for source, _ in self.pairs) >= n

    @property
    def is_same(self) -> bool:
        """Whether both are the same network but for a head or two."""
        return max(self.n_open) <= _N_HEADS and bool(self.pairs)

    def by_name(self) -> dict[str, tuple[str, ...]]:
        """Names of the source tensors that hold what each target tensor does.

        A target tensor that is one part of a fused source tensor has that one's name.
        """
        found: dict[str, tuple[str, ...]] = {}
        for source, target in self.pairs:
            for layer in target:
                for i, tensor in enumerate(layer.tensors):
                    roles = [[t for t in other.tensors if t.role == tensor.role] for other in source]
                    if len(layer.tensors) == 1 and len(source) == 1 and len(source[0].tensors) == 1:
                        roles = [[source[0].tensors[i]]]
                    names = tuple(t.name for same in roles for t in same)
                    if names:
                        found[tensor.name] = names
        return found


def counterparts(source: Header, target: Header) -> Counterparts:
    """Find which tensors of a source hold what the tensors of a target do.

    Parameters
    ----------
    source : mapping of str to Signature
        In any order.
    target : mapping of str to Signature
        In the order in which its layers run.

    Returns
    -------
    Counterparts
    """
    layers = _layers(source), _layers(target)
    own, other = as_units(*layers)
    keys = [unit.key for unit in own], [unit.key for unit in other]
    names = [unit.name for unit in own], [unit.name for unit in other]
    shapes = _table(*keys, _closeness)
    words = _table(*names, likeness)
    weights = shapes * (1 + _WORDS * words)
    order, undecided = best_order([unit.path for unit in own], weights, [unit.path for unit in other])
    met = {order[i]: j for i, j in aligned(weights[order]) if shapes[order[i], j] >= _MEETS}
    met, guessed = _as_sets(own, other, order, words, met)
    met |= _leftover(shapes, words, order, met)
    return Counterparts(
        tuple(layer for i in order for layer in own[i].layers),
        tuple((own[i].layers, other[j].layers) for i, j in sorted(met.items(), key=lambda pair: pair[1])),
        (_n_weighted(own, set(met)), _n_weighted(other, set(met.values()))),
        frozenset(layer.path for i in undecided | guessed for layer in own[i].layers),
    )


def _layers(header: Header) -> list[Layer]:
    place = {name: i for i, name in enumerate(header)}
    return sorted(from_header(header).layers(), key=lambda layer: min(place[t.name] for t in layer.tensors))


def _table(
    own: Sequence[_Value], other: Sequence[_Value], score: Callable[[_Value, _Value], float]
) -> NDArray[np.float64]:
    """Scores of all pairs, of shape (n_own, n_other); values occur again and again."""
    kinds = [{value: i for i, value in enumerate(dict.fromkeys(side))} for side in (own, other)]
    scores = np.array([[score(a, b) for b in kinds[1]] for a in kinds[0]])
    return scores[np.ix_([kinds[0][a] for a in own], [kinds[1][b] for b in other])]


def _closeness(one: Key, other: Key) -> float:
    """How far two layers hold the same numbers: 1 if they do, less than `_MEETS` if they do not."""
    if one == other:
        return 1.0
    if not one or not other:
        return 0.0
    a, b = one[0], other[0]
    if a == b:
        return 0.85
    if prod(a) == prod(b) > 1 and (a[0] == b[0] or sorted(a) == sorted(b)):
        return 0.8 if a[0] == b[0] else _MEETS  # a kernel over the whole map, a table turned round
    if len(one) != len(other) or len(a) != len(b):
        return 0.0
    return 0.3 * prod(min(m, n) / max(m, n) for m, n in zip(a, b, strict=True)) ** 0.5


def _as_sets(
    own: Sequence[Unit],
    other: Sequence[Unit],
    order: Sequence[int],
    words: NDArray[np.float64],
    met: dict[int, int],
) -> tuple[dict[int, int], set[int]]:
    """Where not all layers met in order, let those of a shape meet by the templates of their names.

    Returns
    -------
    met : dict of int to int
        As before for shapes all of whose layers met, unless words speak against it.
    guessed : set of int
        Layers that neither order nor words brought together, where others have their shape.
    """
    counts = Counter(unit.key for unit in own), Counter(unit.key for unit in other)
    same = {i: j for i, j in met.items() if own[i].key == other[j].key}
    done = Counter(own[i].key for i in same)
    chosen = {key for key, n in counts[0].items() if done[key] < min(n, counts[1][key])}
    if not chosen:
        return met, set()
    support = Counter((_template(own[i]), _template(other[j])) for i, j in met.items())
    groups = _templates(own, order), _templates(other, range(len(other)))
    found = _by_templates(*groups, words, support)
    gain: dict[Key, float] = defaultdict(float)
    for pairs, sign in ((found, 1), (same, -1)):
        for i, j in pairs.items():
            gain[own[i].key] += sign * words[i, j]
    chosen |= {key for key, more in gain.items() if more > _MORE_WORDS * counts[0][key]}
    kept = {i: j for i, j in met.items() if own[i].key not in chosen and other[j].key not in chosen}
    new = {i: j for i, j in found.items() if own[i].key in chosen}
    holders = _holders(groups[0]), _holders(groups[1])
    is_tie = {key for key in chosen if max(len(side[key]) for side in holders) > 1}
    return kept | new, {i for i, j in new.items() if own[i].key in is_tie and not words[i, j] and met.get(i) != j}


_Templates = dict[str, dict[Key, list[int]]]
"""Layers in order, by the template of their names and by their shapes."""


def _template(unit: Unit) -> str:
    """Path without its numbers, but for those that belong to a word: norm1 and norm2 are no list."""
    return ".".join(part if meanings(part) else skeleton(part) for part in unit.path.split("."))


def _templates(units: Sequence[Unit], order: Sequence[int]) -> _Templates:
    groups: _Templates = defaultdict(lambda: defaultdict(list))
    for i in order:
        groups[_template(units[i])][units[i].key].append(i)
    return groups


def _by_templates(
    own: _Templates, other: _Templates, words: NDArray[np.float64], support: Counter[tuple[str, str]]
) -> dict[int, int]:
    """Pair templates, the likeliest first, and their layers of equal shape in order."""
    holders = _holders(own), _holders(other)
    sharing = {
        pair for key in holders[0].keys() & holders[1].keys() for pair in product(holders[0][key], holders[1][key])
    }
    candidates = []
    for a, b in sharing:
        left, right = own[a], other[b]
        n_common = sum(min(len(left[key]), len(right[key])) for key in left.keys() & right.keys())
        n = max(sum(map(len, side.values())) for side in (left, right))
        i, j = next(iter(left.values()))[0], next(iter(right.values()))[0]
        candidates.append((n_common / n + words[i, j] + support[a, b] / n, -i, -j, a, b))
    found: dict[int, int] = {}
    taken: set[int] = set()
    for *_, a, b in sorted(candidates, reverse=True):
        for key in own[a].keys() & other[b].keys():
            rows = [i for i in own[a][key] if i not in found]
            columns = [j for j in other[b][key] if j not in taken]
            found |= dict(zip(rows, columns, strict=False))
            taken |= set(columns[: len(rows)])
    return found


def _holders(groups: _Templates) -> dict[Key, list[str]]:
    found: dict[Key, list[str]] = defaultdict(list)
    for template, members in groups.items():
        for key in members:
            found[key].append(template)
    return found


def _leftover(
    shapes: NDArray[np.float64], words: NDArray[np.float64], order: Sequence[int], met: dict[int, int]
) -> dict[int, int]:
    """Let layers meet that hold as many numbers in another shape; the closest first, then in order."""
    rank = {i: r for r, i in enumerate(order)}
    rows = [i for i in order if i not in met]
    columns = sorted(set(range(shapes.shape[1])) - set(met.values()))
    candidates = [
        (-shapes[i, j], -words[i, j], rank[i], j, i) for i in rows for j in columns if shapes[i, j] >= _MEETS
    ]
    found: dict[int, int] = {}
    taken: set[int] = set()
    for *_, j, i in sorted(candidates):
        if i not in found and j not in taken:
            found[i] = j
            taken.add(j)
    return found


def _n_weighted(units: Sequence[Unit], met: set[int]) -> int:
    return sum(i not in met and bool(unit.key) and len(unit.key[0]) > 1 for i, unit in enumerate(units))
