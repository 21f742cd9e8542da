"""Towers: parts of a target that each look like all of the source.

Two encoders side by side, a momentum encoder, one backbone per view: one alignment in order would feed the first of
them, or parts of each. A tower is a subtree of the target's names that begins as the source begins and is at least
half like it; of those that contain each other the more alike is taken. They are taken where V of all of them is
clearly more than that of one alignment, and compared with as many copies of the source:

    similarity = (V(S, P_1) + ... + V(S, P_k) + V(S', T')) / sqrt(k n(S) n(T))

with S' and T' what is left of both, as a decoder that two encoders share. So k towers equal to the source, and
nothing else, are worth 1, where one alignment is worth 1 / sqrt(k).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from transfer.alignment.matching import match, plain_similarity
from transfer.alignment.scaling import at_common_scale, scaled_similarity
from transfer.alignment.tables import kind_code
from transfer.structure.layers import dims_of, in_width, is_weighted, out_width
from transfer.structure.records import Architecture, Block, Layer, Signature
from transfer.structure.standardization import standardize_header

__all__ = ["LEAST", "Subtree", "Towers", "find_towers", "part_of", "subtrees", "without_towers"]

_FEWEST_LAYERS = 4
"""A smaller subtree is no network."""

_FEWEST_OF_PART, _LEAST_PART = 12, 0.25
"""Layers of a part of a source that may be a network as well, and their share of all: more than a block."""

LEAST = 0.5
"""Similarity of the source for a tower, and of what is left of it for what is left of the target."""

_GAIN = 1.1
"""V of all towers has to be so many times that of one alignment of the whole target."""

_MOST_INPUTS = 2
"""Ratio of the input channels of two networks that are given the same kind of thing."""

_FIXED = 4
"""Up to so many channels are those of an image; what gives as many as it reads, but more, may stand in a row."""


@dataclass(frozen=True, slots=True)
class Subtree:
    """What lies below a node of the name tree.

    Parameters
    ----------
    path : str
        Of the node.
    n_scoring : int
        Layers that can match.
    first : Layer
        The first one with a matrix.
    """

    path: str
    n_scoring: int
    first: Layer


@dataclass(frozen=True, slots=True)
class Towers:
    """Paths of the towers, in the order of the target, and the similarity of as many copies of the source."""

    paths: tuple[str, ...]
    similarity: float


def subtrees(target: Architecture) -> tuple[Subtree, ...]:
    """List the subtrees of a network that might be networks themselves; of those with equal layers the innermost.

    Parameters
    ----------
    target : Architecture
        Without the names of its layers it has none.
    """
    counts: dict[str, int] = {}
    first: dict[str, Layer] = {}
    for layer in target.layers():
        end = layer.path.rfind(".")
        while end > 0:
            path = layer.path[:end]
            counts[path] = counts.get(path, 0) + (layer.dims is not None)
            if path not in first and is_weighted(layer):
                first[path] = layer
            end = layer.path.rfind(".", 0, end)
    inner: dict[tuple[str, int], str] = {}  # a layer is the first of nested subtrees only
    for path, layer in first.items():
        key = layer.path, counts[path]
        if counts[path] >= _FEWEST_LAYERS and len(path) > len(inner.get(key, "")):
            inner[key] = path
    return tuple(Subtree(path, n, first[path]) for (_, n), path in inner.items() if n < target.n_scoring)


def find_towers(
    source: Architecture, target: Architecture, similarity: float, trees: Sequence[Subtree] | None = None
) -> Towers | None:
    """Find what in the target is like the source as a whole.

    Parameters
    ----------
    source, target : Architecture
        In ``dpiat`` form; any other has no towers.
    similarity : float
        Of the source for the target as a whole.
    trees : sequence of Subtree, optional
        Of the target, if they are known.

    Returns
    -------
    Towers or None
        None if there are not at least two, or one alignment supplies as much.
    """
    n = source.n_scoring
    begin = next(filter(is_weighted, source.layers()), None)
    if target.form != "dpiat" or target.n_scoring < n or begin is None:
        return None
    trees = subtrees(target) if trees is None else trees
    likely = [tree for tree in trees if 2 * tree.n_scoring >= n and _begins_alike(begin, tree.first)]
    if len(likely) < 2 or len(_disjoint(likely)) < 2 or _may_stand_in_a_row(source, begin):
        return None
    if _has_towers(source, begin):
        return None
    values = {tree.path: value for tree in likely if (value := _value(source, part_of(target, tree.path)))}
    chosen = _best_disjoint(values)
    if len(chosen) < 2:
        return None
    value = sum(values[path] for path in chosen) + _value_of_rest(source, target, chosen)
    single = similarity * float(n * target.n_scoring) ** 0.5
    if value <= _GAIN * single:
        return None
    return Towers(tuple(chosen), min(value / (len(chosen) * n * target.n_scoring) ** 0.5, 1.0))


def part_of(target: Architecture, path: str) -> Architecture:
    """Standardize a subtree by itself; its layers are called as seen from there.

    Parameters
    ----------
    target : Architecture
    path : str
        Of the node above.
    """
    prefix = f"{path}."
    inside = {layer.path: layer for layer in target.layers() if layer.path.startswith(prefix)}
    header = {
        tensor.name.removeprefix(prefix): Signature(tensor.shape, tensor.dtype)
        for layer in inside.values()
        for tensor in layer.tensors
    }

    def noted(layer: Layer) -> Layer:
        known = inside.get(prefix + layer.path, layer)
        return replace(
            layer,
            n_heads=known.n_heads,
            n_groups=known.n_groups,
            is_transposed=known.is_transposed,
            wiring=known.wiring.below(prefix) if known.wiring else None,
        )

    items = [
        Block(tuple(map(noted, item.layers))) if isinstance(item, Block) else noted(item)
        for item in standardize_header(header).items
    ]
    return Architecture(target.form, tuple(items))


def _value(source: Architecture, part: Architecture) -> float:
    """V of the source for a tower at the scale that suits them; 0 where they are too little alike."""
    plain = 1.0 if source.is_like(part) else plain_similarity(source, part)
    similar = scaled_similarity(source, part, plain)
    return similar * float(source.n_scoring * part.n_scoring) ** 0.5 if similar >= LEAST else 0.0


def without_towers(
    source: Architecture, target: Architecture, paths: Sequence[str], used: Collection[str]
) -> tuple[Architecture, Architecture]:
    """Return what is left of source and target.

    Parameters
    ----------
    source, target : Architecture
    paths : sequence of str
        Of the towers.
    used : collection of str
        Paths of the source's layers that feed them.
    """
    prefixes = tuple(f"{path}." for path in paths)
    left = [item for item in source.items if not any(layer.path in used for layer in item.layers)]
    rest = [item for item in target.items if not any(layer.path.startswith(prefixes) for layer in item.layers)]
    return Architecture(source.form, tuple(left)), Architecture(target.form, tuple(rest))


def _value_of_rest(source: Architecture, target: Architecture, paths: Sequence[str]) -> float:
    parts = [part_of(target, path) for path in paths]
    used = {pair.source.path for part in parts for pair in at_common_scale(match(source, part))[0].pairs}
    left, rest = without_towers(source, target, paths, used)
    like = scaled_similarity(left, rest, plain_similarity(left, rest)) if left.n_scoring and rest.n_scoring else 0.0
    return like * float(left.n_scoring * rest.n_scoring) ** 0.5 if like >= LEAST else 0.0


def _begins_alike(a: Layer, b: Layer) -> bool:
    """Whether two layers may be given the same: features inside a network are more channels than what it reads."""
    if kind_code(a.kind, a.dims) != kind_code(b.kind, b.dims):
        return False
    x, y = (dims_of(one)[1] if one.n_groups == 1 else in_width(one) for one in (a, b))  # grey is not depthwise
    return max(x, y) <= max(_MOST_INPUTS * min(x, y), _FIXED)


def _may_stand_in_a_row(source: Architecture, begin: Layer) -> bool:
    """Whether a network begins like any of its blocks and gives what it reads: its likes are stages, not towers."""
    weighted = [layer for layer in source.layers() if is_weighted(layer)]
    is_repeated = sum(layer.dims == begin.dims for layer in weighted) > 1
    return is_repeated and in_width(begin) == out_width(weighted[-1]) > _FIXED


def _has_towers(source: Architecture, begin: Layer) -> bool:
    """Whether a source is itself made of parts that begin alike, as encoder and decoder: the target's are those."""
    least = max(_FEWEST_OF_PART, _LEAST_PART * source.n_scoring)
    trees = [tree for tree in subtrees(source) if tree.n_scoring >= least and _begins_alike(begin, tree.first)]
    return len(_disjoint(trees)) >= 2


def _disjoint(trees: Sequence[Subtree]) -> list[str]:
    """Paths of the innermost ones."""
    paths = [tree.path for tree in trees]
    return [path for path in paths if not any(other.startswith(f"{path}.") for other in paths)]


def _best_disjoint(values: dict[str, float]) -> list[str]:
    """Choose paths, none above another, with the largest sum of values; of equal sums the innermost."""

    def best(path: str) -> tuple[float, list[str]]:
        below = [best(child) for child in _children(path, values)]
        total = sum(value for value, _ in below)
        if path and values[path] > total * (1 + 1e-9):
            return values[path], [path]
        return total, [chosen for _, paths in below for chosen in paths]

    found = set(best("")[1])
    return [path for path in values if path in found]


def _children(path: str, values: dict[str, float]) -> Iterator[str]:
    """Those below a path with none between."""
    prefix = f"{path}." if path else ""
    below = [other for other in values if other.startswith(prefix) and other != path]
    return (one for one in below if not any(one.startswith(f"{other}.") for other in below))
