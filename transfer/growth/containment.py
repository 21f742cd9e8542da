"""Does the target contain the source? If so: where each source layer lies in it.

A target contains a source if it has, in the same order, a counterpart for every block and layer of it, no
dimension smaller, and every block and layer between these can start by passing its input on: residual blocks,
blocks that append to a concatenation, layers with as many outputs as inputs. Such a target can compute what the
source computes, whatever else the best-scoring alignment would be; so this placement replaces it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise, takewhile

import numpy as np

from transfer.alignment.matching import Alignment, LayerPair
from transfer.alignment.roles import goes_on
from transfer.alignment.tables import kind_code, padded, table_of
from transfer.channels.concatenation import concatenating_items
from transfer.structure.layers import in_width, is_depthwise, is_weighted, out_width, share_positions
from transfer.structure.meaning import head_paths
from transfer.structure.records import Architecture, Block, Item, Layer, structure_keys
from transfer.structure.unfolding import unfolded

__all__ = ["contained"]

_MOST_STAGES = 4
"""Of one block; more ways to cut them are not tried."""

_TIE = 1e-6
"""Small against any difference of scores."""

_DEEP = 3
"""Components that the paths of neighbours share within a residual branch, rather than between blocks of a stage."""

Fit = Callable[[int, int], float]
"""Score of a source in the place of a target, by their positions; negative where it does not fit."""


@dataclass(frozen=True, slots=True)
class _Place:
    """For each source the position of its target, and the sum of the scores."""

    positions: list[int]
    value: float


def contained(alignment: Alignment) -> Alignment | None:
    """Find the source in the target.

    A block of the source may be a stage of one block that has several in the target.

    Parameters
    ----------
    alignment : Alignment
        The best-scoring one.

    Returns
    -------
    Alignment or None
        Every source layer feeds one target layer; None if the target does not contain the source. Its source may
        be cut into other blocks than the given one.
    """
    for architecture in _cuts(alignment.source) if _has_room(alignment) else ():
        found = _contained(replace(alignment, source=architecture))
        if found is not None:
            return found
    return None


def _has_room(alignment: Alignment) -> bool:
    """Whether the target has as many layers of every kind as the source."""
    tables = table_of(alignment.source), table_of(alignment.target)
    kinds = [table.layer_kind[table.order] for table in tables]
    own, other = (np.bincount(kind[kind >= 0], minlength=1 + max(k.max() for k in kinds)) for kind in kinds)
    return bool((own <= other).all())


def _cuts(source: Architecture) -> Iterator[Architecture]:
    """Yield the source as it is, then with blocks cut that may be stages: few that are unlike all others."""
    yield source
    keys = structure_keys(source)
    stages = [
        i
        for i, item in enumerate(source.items)
        if isinstance(item, Block) and keys.count(keys[i]) == 1 and unfolded(source, {i}) is not source
    ]
    for n in range(len(stages), 0, -1) if len(stages) <= _MOST_STAGES else ():
        for chosen in combinations(stages, n):
            yield unfolded(source, chosen)


def _contained(alignment: Alignment) -> Alignment | None:
    """Find the source, cut as it is, in the target."""
    source, target = alignment.source.items, alignment.target.items
    own, other = goes_on(alignment.source).tolist(), goes_on(alignment.target).tolist()
    n_single = own.count(-1), other.count(-1)
    if n_single[0] > n_single[1] or len(own) - n_single[0] > len(other) - n_single[1]:
        return None
    # where every block has its place, widths cannot mean that another one is the counterpart
    is_forced = len(source) == len(target)
    heads = head_paths(alignment.source), head_paths(alignment.target)
    appending = concatenating_items(alignment.target)
    keys = structure_keys(alignment.source), structure_keys(alignment.target)
    blocks: dict[tuple[Hashable, Hashable], _Place | None] = {}

    def layers_fit(s: Layer, t: Layer) -> float:
        return 1.0 if s.path in heads[0] and t.path in heads[1] else _score(s, t)

    def fit(s: int, t: int) -> float:
        a, b = source[s], target[t]
        if isinstance(a, Layer) and isinstance(b, Layer):
            return layers_fit(a, b)
        if not isinstance(a, Block) or not isinstance(b, Block):
            return -1.0
        key = keys[0][s], keys[1][t]
        if key not in blocks:
            blocks[key] = _within_block(a, b, layers_fit) if is_forced or own[s] == other[t] else None
        place = blocks[key]
        return place.value if place else -1.0

    may_skip = [
        i in appending or (bool(other[i]) if isinstance(item, Block) else _passes_in_block(item))
        for i, item in enumerate(target)
    ]
    place = _embed(source, target, fit, may_skip)
    if place is None:
        return None
    pairs = []
    for s, t in enumerate(place.positions):
        a, b = source[s], target[t]
        if isinstance(a, Block) and isinstance(b, Block):
            inner = blocks[keys[0][s], keys[1][t]]
            assert inner is not None
            for layer, j in zip(a.layers, inner.positions, strict=True):
                pairs.append(LayerPair(layer, b.layers[j], layers_fit(layer, b.layers[j]), s, t))
        elif isinstance(a, Layer) and isinstance(b, Layer):
            pairs.append(LayerPair(a, b, layers_fit(a, b), s, t))
    return replace(alignment, pairs=tuple(pairs))


def _within_block(source: Block, target: Block, layers_fit: Callable[[Layer, Layer], float]) -> _Place | None:
    """Place the layers of one block in another; of equally good places those at the same depth.

    Where convolutions of one size follow each other, shapes do not tell between which of them a network pools.
    """
    m, n = len(source.layers), len(target.layers)

    def fit(s: int, t: int) -> float:
        score = layers_fit(source.layers[s], target.layers[t])
        return score + _TIE * (1 - (s / m - t / n) ** 2) if score >= 0 else score

    return _embed(source.layers, target.layers, fit, [_passes_in_block(layer) for layer in target.layers])


def _passes_in_block(layer: Layer) -> bool:
    if is_weighted(layer):
        assert layer.dims is not None
        odd = all(k % 2 == 1 for k in layer.dims[2:])
        return odd and not is_depthwise(layer) and out_width(layer) == in_width(layer)
    return layer.kind == "batchnorm"


def _score(source: Layer, target: Layer) -> float:
    """Shape score, or -1 if the source is larger in any dimension or of another kind."""
    if source.dims is None or target.dims is None:
        return -1.0
    if not share_positions(source, target):
        return -1.0
    if kind_code(source.kind, source.dims) != kind_code(target.kind, target.dims):
        return -1.0
    if source.kind.startswith("parameter"):
        return 1.0 if source.dims == target.dims else 0.5  # tables and positions are resampled, not cropped
    score = 1.0
    free = _free_dimensions(len(source.dims) - 2, len(target.dims) - 2)
    rows = padded(source.kind, source.dims), padded(target.kind, target.dims)
    for i, (a, b) in enumerate(zip(*rows, strict=True)):
        if (a > b and i not in free) or not b:
            return -1.0
        score *= a / b if a <= b else b / a
    return score


def _free_dimensions(n_source: int, n_target: int) -> tuple[int, ...]:
    """Places in a row of dimensions that one of two kernels lacks: height or time, spread or summed over."""
    lowest, highest = sorted((n_source, n_target))
    return () if lowest == highest or lowest < 1 else (2, 4) if lowest == 1 else (4,)


def _embed(source: Sequence[Item], target: Sequence[Item], fit: Fit, may_skip: Sequence[bool]) -> _Place | None:
    """Place every source, in order, on a target of its own such that the scores sum to the most.

    Only targets that may be skipped are left out. A layer and the norms behind it keep together. Of equally good
    places those that leave targets out where the source has a border of modules; then the first.
    """
    sources, targets = _units(source), _units(target)
    n_source, n_target = len(sources), len(targets)
    worst = -math.inf
    value = [[worst] * (n_source + 1) for _ in range(n_target + 1)]
    value[0][0] = 0.0
    skippable = [all(may_skip[i] for i in unit) for unit in targets]
    tear = [0.0] * (n_source + 1)
    if any(isinstance(item, Block) for item in source):
        ends = [(source[unit[0]].layers[0].path, source[unit[-1]].layers[-1].path) for unit in sources]
        tear[1:n_source] = [_TIE * (_n_shared(a[1], b[0]) >= _DEEP) for a, b in pairwise(ends)]

    def units_fit(s: int, t: int) -> float:
        if len(sources[s]) != len(targets[t]):
            return -1.0
        scores = [fit(i, j) for i, j in zip(sources[s], targets[t], strict=True)]
        return sum(scores) if min(scores) >= 0 else -1.0

    for t in range(n_target):
        for s in range(max(0, n_source - n_target + t), min(t, n_source) + 1):
            here = value[t][s]
            if here == worst:
                continue
            if skippable[t] and here - tear[s] > value[t + 1][s]:
                value[t + 1][s] = here - tear[s]
            if s < n_source and (score := units_fit(s, t)) >= 0 and here + score > value[t + 1][s + 1]:
                value[t + 1][s + 1] = here + score
    if value[n_target][n_source] == worst:
        return None
    positions: list[int] = []
    t, s = n_target, n_source
    while t:
        t -= 1
        if skippable[t] and value[t][s] - tear[s] == value[t + 1][s]:
            continue
        s -= 1
        positions += reversed(targets[t])
    return _Place(positions[::-1], value[n_target][n_source])


def _n_shared(a: str, b: str) -> int:
    """Count the leading components that two paths share."""
    return len(list(takewhile(lambda both: both[0] == both[1], zip(a.split("."), b.split("."), strict=False))))


def _units(items: Sequence[Item]) -> list[list[int]]:
    """Positions of what stays together: a weighted layer with the norms behind it, or anything else by itself."""
    units: list[list[int]] = []
    for i, item in enumerate(items):
        is_norm = isinstance(item, Layer) and item.kind in ("batchnorm", "norm")
        before = items[units[-1][0]] if units else None
        if is_norm and isinstance(before, Layer) and is_weighted(before):
            units[-1].append(i)
        else:
            units.append([i])
    return units
