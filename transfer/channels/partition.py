"""The same maps cut into layers at other places: which layers of one block together are a layer of another one.

Layers side by side that read the same are one map with the outputs of all (query, key and value; value and gate),
and code keeps it in one layer, in one for each part, or in some for some of them: keys and values without the
queries, parts of unequal widths. The bias of a layer is cut as well: some code keeps those of queries and values in
vectors of their own and has none for keys, which would change nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple

from transfer.structure.layers import dims_of, in_width, is_dense, is_pointwise, is_spatial, is_weighted, out_width
from transfer.structure.meaning import separate_biases
from transfer.structure.records import Architecture, Layer, Tensor, remembered, structure_keys

__all__ = ["Part", "Parts", "are_cut_otherwise", "equal_parts", "parts_of"]

_MOST_PARTS = 4


@dataclass(frozen=True, slots=True)
class Part:
    """Some neighbouring outputs of a layer.

    Parameters
    ----------
    layer : Layer
    start, size : int
        Which outputs.
    bias : (Layer, int) or None
        The layer with what is added to them, itself or a vector, and where in it that begins.
    """

    layer: Layer
    start: int
    size: int
    bias: tuple[Layer, int] | None

    def piece(self, role: str) -> tuple[Tensor, int] | None:
        """Return the tensor of a role, and where in it the part begins."""
        if role == "weight":
            return self.layer.tensors[0], self.start
        if self.bias is None:
            return None
        holder, start = self.bias
        return next((t for t in holder.tensors if t.role == role), holder.tensors[0]), start


Parts = tuple[tuple[Part, ...], tuple[Part, ...]]
"""Parts of the target and, one for one, of the source."""


def parts_of(layer: Layer, layers: Sequence[Layer], ends: Sequence[int]) -> tuple[Part, ...]:
    """Cut a layer.

    Parameters
    ----------
    layer : Layer
    layers : sequence of Layer
        Of its block.
    ends : sequence of int
        Where each part ends; the last one is the number of outputs.

    Returns
    -------
    tuple of Part
    """
    held = _biases(layer, layers)
    found = []
    for start, end in zip((0, *ends[:-1]), ends, strict=True):
        inside = next(((holder, at) for holder, at in held if at <= start and end <= at + out_width(holder)), None)
        bias = None if inside is None else (inside[0], start - inside[1])
        found.append(Part(layer, start, end - start, bias))
    return tuple(found)


def _biases(layer: Layer, layers: Sequence[Layer]) -> list[tuple[Layer, int]]:
    """Find what holds the biases of a layer, itself or vectors, and from which output on they are added."""
    has_own = any(tensor.role == "bias" for tensor in layer.tensors)
    return [(layer, 0)] if has_own else separate_biases(layer, layers)


class _Widths(NamedTuple):
    """Inputs and outputs of the layers of a block that may be parts: of each, and of several in a row."""

    single: frozenset[tuple[int, int]]
    joined: frozenset[tuple[int, int]]
    has_vectors: bool  # with biases


@remembered
def _widths(architecture: Architecture) -> list[_Widths]:
    """List the widths in every item."""
    found = []
    for item in architecture.items:
        weighted = [layer for layer in item.layers if is_weighted(layer)]
        rows = [(in_width(x), out_width(x)) if is_pointwise(x) and is_dense(x) else None for x in weighted]
        joined = set()
        for i, first in enumerate(rows):
            total = first[1] if first is not None else 0
            for other in rows[i + 1 : i + _MOST_PARTS]:
                if first is None or other is None or other[0] != first[0]:
                    break
                total += other[1]
                joined.add((first[0], total))
        has_vectors = any(_biases(x, item.layers) not in ([], [(x, 0)]) for x in weighted)
        found.append(_Widths(frozenset(filter(None, rows)), frozenset(joined), has_vectors))
    return found


def are_cut_otherwise(target: Architecture, source: Architecture, t: int, s: int) -> bool:
    """Whether two items might be the same maps cut at other places, found without looking closely."""
    ours, theirs = _widths(target)[t], _widths(source)[s]
    if ours.has_vectors or theirs.has_vectors:
        return True
    if not ours.single & theirs.joined and not ours.joined & theirs.single:
        return False
    # blocks repeat, and nothing but shapes matters where there are no vectors
    known = _cut_otherwise(target)
    key = structure_keys(target)[t], structure_keys(source)[s]
    if key not in known:
        known[key] = any(True for _ in equal_parts(target.items[t].layers, source.items[s].layers))
    return known[key]


@remembered
def _cut_otherwise(target: Architecture) -> dict[tuple[Hashable, Hashable], bool]:
    """Keep what was found before of a target's blocks."""
    return {}


def equal_parts(target: Sequence[Layer], source: Sequence[Layer]) -> Iterator[Parts]:
    """Find layers of two blocks that are the same maps cut at other places.

    Parameters
    ----------
    target, source : sequence of Layer
        Of one block each.

    Yields
    ------
    tuple of target parts, source parts
        One for one, of equal sizes.
    """
    own, other = [x for x in target if is_weighted(x)], [x for x in source if is_weighted(x)]
    begin = tuple({id(layer) for layer in _behind_norms(layers)} for layers in (target, source))
    for ours, theirs in _aligned(own, other, begin):
        inner = [*_inner_ends(ours, target), *_inner_ends(theirs, source)]
        if not inner:
            continue
        ends = sorted({*inner, sum(map(out_width, ours))})
        yield _cut(ours, target, ends), _cut(theirs, source, ends)


def _behind_norms(layers: Sequence[Layer]) -> Iterator[Layer]:
    """Yield layers that read a norm directly before them: they are not side by side with what comes before it."""
    for before, layer in pairwise(layers):
        if before.kind in ("norm", "batchnorm") and is_weighted(layer) and out_width(before) == in_width(layer):
            yield layer


def _inner_ends(run: Sequence[Layer], layers: Sequence[Layer]) -> list[int]:
    """Where a run of layers side by side is cut: into layers, and into vectors that are added."""
    ends = list(accumulate(map(out_width, run)))
    starts = [end - out_width(layer) for layer, end in zip(run, ends, strict=True)]
    vectors = [
        start + at + shift
        for layer, start in zip(run, starts, strict=True)
        for holder, at in _biases(layer, layers)
        for shift in (0, out_width(holder))
    ]
    return [end for end in {*ends, *vectors} if 0 < end < ends[-1]]


def _cut(run: Sequence[Layer], layers: Sequence[Layer], ends: Sequence[int]) -> tuple[Part, ...]:
    found: list[Part] = []
    start = 0
    for layer in run:
        width = out_width(layer)
        found += parts_of(layer, layers, [end - start for end in ends if start < end <= start + width])
        start += width
    return tuple(found)


_Runs = tuple[Sequence[Layer], Sequence[Layer]]


def _aligned(own: Sequence[Layer], other: Sequence[Layer], begin: Sequence[set[int]]) -> list[_Runs]:
    """Align two sequences of layers such that most have a counterpart: an equal layer, or several together."""
    n, m = len(own), len(other)
    moves = [(1, 1), *((1, k) for k in range(2, _MOST_PARTS + 1)), *((k, 1) for k in range(2, _MOST_PARTS + 1))]
    best = [[0] * (m + 1) for _ in range(n + 1)]
    taken: dict[tuple[int, int], tuple[int, int]] = {}
    for i in range(n - 1, -1, -1):
        for j in range(m - 1, -1, -1):
            best[i][j] = max(best[i + 1][j], best[i][j + 1])
            for a, b in moves:
                if i + a > n or j + b > m:
                    continue
                value = a + b + best[i + a][j + b]
                runs = (own[i + 1 : i + a], begin[0]), (other[j + 1 : j + b], begin[1])
                is_torn = any(id(layer) in known for run, known in runs for layer in run)
                if value > best[i][j] and not is_torn and _are_equal(own, other, i, j, a, b):
                    best[i][j], taken[i, j] = value, (a, b)
    found: list[_Runs] = []
    i = j = 0
    while i < n and j < m:
        if (i, j) in taken:
            a, b = taken[i, j]
            found.append((own[i : i + a], other[j : j + b]))
            i, j = i + a, j + b
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return found


def _are_equal(own: Sequence[Layer], other: Sequence[Layer], i: int, j: int, a: int, b: int) -> bool:
    """Whether runs of `a` and `b` layers are the same map, and later layers read as much as one of the parts.

    Two layers one after the other are not the same as one that the next one reads whole.
    """
    ours, theirs = own[i : i + a], other[j : j + b]
    if a == b:
        return _size(ours[0]) == _size(theirs[0])
    if not all(is_pointwise(layer) and is_dense(layer) for layer in (*ours, *theirs)):
        return False
    if len({in_width(layer) for layer in (*ours, *theirs)}) > 1:
        return False
    width = sum(map(out_width, ours))
    behind = own[i + a :], other[j + b :]
    later = [set(map(in_width, layers)) for layers in behind]
    parts = {out_width(layer) for layer in (ours if a > b else theirs)}
    return (
        width == sum(map(out_width, theirs))
        and all(behind)
        and not _may_read(behind[a > b][0], width)
        and bool(parts.intersection(*later))
    )


def _may_read(layer: Layer, width: int) -> bool:
    """Whether a layer may read so many channels; in groups, if it does not tell of any: then it gives as many."""
    n_inputs = in_width(layer) * max(layer.n_groups, 1)
    return width == n_inputs or (not layer.n_groups and is_spatial(layer) and width == out_width(layer))


def _size(layer: Layer) -> tuple[int, ...]:
    outputs, inputs, *kernel = dims_of(layer)
    return outputs, inputs, *(k for k in kernel if k != 1)
