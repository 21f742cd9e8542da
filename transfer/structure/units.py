"""Layers as they are compared across networks that are written differently.

Dimensions of one do not count; query, key and value are joined where the other network has them as one layer, and
the vectors with their biases, where some code keeps such, with the layer whose outputs they are added to.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from transfer.structure.layers import is_pointwise, parent_of
from transfer.structure.meaning import separate_biases
from transfer.structure.records import Layer
from transfer.structure.words import meanings

__all__ = ["Key", "Unit", "as_units"]

Key = tuple[tuple[int, ...], ...]
"""Shapes of a layer's tensors without dimensions of one, counters left out."""

_PARTS = ("query", "key", "value")
_JOINED = {("query", "key", "value"): "qkv", ("key", "value"): "kv"}
"""Which parts are joined, and what the joined layer is called."""

_NEVER_FUSED = {"feed", "head", "patch"}
"""What says this is no attention, be it as large as key and value together."""


@dataclass(frozen=True)
class Unit:
    """One layer, or several that the other network has as one.

    Parameters
    ----------
    path : str
    layers : tuple of Layer
    key : Key
    """

    path: str
    layers: tuple[Layer, ...]
    key: Key

    @property
    def name(self) -> str:
        """The path without its numbers."""
        return ".".join(part for part in self.path.split(".") if not part.isdigit())


def as_units(own: Sequence[Layer], other: Sequence[Layer]) -> tuple[list[Unit], list[Unit]]:
    """Make layers comparable.

    Parameters
    ----------
    own, other : sequence of Layer
        Of two networks.

    Returns
    -------
    own, other : list of Unit
        In the order of the layers; joined ones where the first of them stood.
    """
    units = [[Unit(layer.path, (layer,), _key(layer)) for layer in side] for side in (own, other)]
    with_biases = [_with_biases(side) for side in units]
    return _joined(with_biases[0], with_biases[1]), _joined(with_biases[1], with_biases[0])


def _with_biases(units: Sequence[Unit]) -> list[Unit]:
    layers = [unit.layers[0] for unit in units]
    below: dict[str, list[Layer]] = defaultdict(list)
    for layer in layers:
        below[parent_of(layer)].append(layer)
    held = {layer.path: separate_biases(layer, below[parent_of(layer)]) for layer in layers if is_pointwise(layer)}
    beside = {vector.path for vectors in held.values() for vector, _ in vectors}
    found = []
    for unit in units:
        vectors = tuple(vector for vector, _ in held.get(unit.path, ()))
        if vectors:
            first = unit.key[0]
            found.append(Unit(unit.path, (*unit.layers, *vectors), (first, first[:1])))
        elif unit.path not in beside:
            found.append(unit)
    return found


def _key(layer: Layer) -> Key:
    shapes = (t.shape for t in layer.tensors if t.role != "num_batches_tracked")
    return tuple(tuple(n for n in shape if n != 1) for shape in shapes)


def _joined(own: Sequence[Unit], other: Sequence[Unit]) -> list[Unit]:
    fused = {unit.key[0] for unit in other if unit.key and _may_be_fused(unit.path)}
    known = {_shapes(members) for members in _groups(other).values()}
    place: dict[int, Unit] = {}
    gone: set[int] = set()
    for path, members in _groups(own).items():
        if _shapes(members) in known:
            continue
        for parts, name in _JOINED.items():
            chosen = [(said, i) for said, i in members if set(said) <= set(parts)]
            if len(chosen) < 2 or sorted(word for said, _ in chosen for word in said) != sorted(parts):
                continue
            chosen.sort(key=lambda member: _PARTS.index(member[0][0]))
            units = [own[i] for _, i in chosen]
            first = (sum(unit.key[0][0] for unit in units), *units[0].key[0][1:])
            if first in fused and len({unit.key[0][1:] for unit in units}) == 1:
                has_bias = any(len(unit.key) > 1 for unit in units)
                places = sorted(i for _, i in chosen)
                layers = tuple(layer for unit in units for layer in unit.layers)
                place[places[0]] = Unit(
                    path.replace("*", name), layers, (first, first[:1]) if has_bias else (first,)
                )
                gone |= set(places)
                break
    return [place.get(i, unit) for i, unit in enumerate(own) if i in place or i not in gone]


_Members = list[tuple[tuple[str, ...], int]]
"""What each member of a group holds, and where it stands."""


def _groups(units: Sequence[Unit]) -> dict[str, _Members]:
    """Layers whose names differ in what they hold of query, key and value only; by the rest of the name."""
    groups: dict[str, _Members] = defaultdict(list)
    for i, unit in enumerate(units):
        if not unit.key or len(unit.key[0]) != 2:
            continue
        parts = unit.path.split(".")
        for place, part in reversed(list(enumerate(parts))):
            said = tuple(word for word in _PARTS if word in meanings(part))
            if said:
                if len(said) < len(_PARTS):
                    groups[".".join([*parts[:place], "*", *parts[place + 1 :]])].append((said, i))
                break
    return groups


def _may_be_fused(path: str) -> bool:
    said = frozenset().union(*map(meanings, path.split(".")))
    return len(said.intersection(_PARTS)) > 1 or not said & _NEVER_FUSED


def _shapes(members: _Members) -> tuple[tuple[str, ...], ...]:
    return tuple(sorted(said for said, _ in members))
