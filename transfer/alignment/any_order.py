"""How alike two networks are whatever the order of their layers, which many files do not tell.

A file that is sorted by name holds the same network as one in the order of execution. So its layers are counted:
those of equal shape are taken for each other's counterparts. Queries, keys and values that are one layer in one of
the networks and several in the other are counted one by one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from math import prod, sqrt

from transfer.structure.layers import out_width
from transfer.structure.meaning import n_fused_parts
from transfer.structure.records import Architecture, Block, Item, Layer, remembered

__all__ = ["Common", "in_common", "was_run"]

Key = tuple[bool, tuple[int, ...]]
"""Whether it is a norm, and the dimensions that are not 1."""


@dataclass(frozen=True, slots=True)
class Common:
    """What two networks have in common.

    Parameters
    ----------
    similarity : float
        Layers of equal shape, divided by the root of the product of both numbers of layers; in [0, 1].
    coverage : float
        Fraction of the elements of the target's layers that are in them; in [0, 1].
    """

    similarity: float
    coverage: float


@remembered
def was_run(architecture: Architecture) -> bool:
    """Whether layers are in the order in which they were seen to run."""
    return architecture.is_executed or any(layer.facts for layer in architecture.layers())


def in_common(source: Architecture, target: Architecture) -> Common:
    """Count the layers of equal shape.

    Parameters
    ----------
    source, target : Architecture
        In ``dpiat`` form.
    """
    return max(
        (_common(*map(count, (source, target))) for count in (_counted, _counted_apart)),
        key=lambda common: common.similarity,
    )


def _common(source: Counter[Key], target: Counter[Key]) -> Common:
    both = source & target
    n_source, n_target = source.total(), target.total()
    n_elements = sum(n * prod(dims) for (_, dims), n in target.items())
    shared = sum(n * prod(dims) for (_, dims), n in both.items())
    similarity = both.total() / sqrt(n_source * n_target) if n_source and n_target else 0.0
    return Common(min(similarity, 1.0), shared / n_elements if n_elements else 0.0)


@remembered
def _counted(architecture: Architecture) -> Counter[Key]:
    return Counter(_key(layer) for layer in architecture.layers() if layer.tensors)


@remembered
def _counted_apart(architecture: Architecture) -> Counter[Key]:
    """Count fused layers by their parts."""
    return Counter(_key(layer) for item in architecture.items for layer in _apart(item) if layer.tensors)


def _apart(item: Item) -> list[Layer]:
    if not isinstance(item, Block):
        return [item]
    found: list[Layer] = []
    for i, layer in enumerate(item.layers):
        n = n_fused_parts(item.layers, i)
        if n == 1:
            found.append(layer)
            continue
        whole = layer.tensors[0]
        part = replace(whole, shape=(out_width(layer) // n, *whole.shape[1:]))
        found += [replace(layer, tensors=(part,))] * n
    return found


def _key(layer: Layer) -> Key:
    dims = layer.tensors[0].shape
    return layer.kind in ("batchnorm", "norm"), tuple(n for n in dims if n != 1)
