"""The networks of a plan as people are shown them, made of JSON values, wherever these come from."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any

from zoo_index.foundation.plain_text import plain

__all__ = ["ShownLayer", "ShownNetwork", "ShownOutline"]

_MOST_TENSORS = 100_000
"""Of one network; the largest of timm has some three thousand."""

_MOST_SIZE, _MOST_DIMS = 2**63, 64


@dataclass(frozen=True)
class ShownLayer:
    """A layer, with the names and shapes of its tensors."""

    path: str
    kind: str
    tensors: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class ShownNetwork:
    """A network: its name and its blocks in order."""

    name: str
    blocks: tuple[tuple[ShownLayer, ...], ...]


@dataclass(frozen=True)
class ShownOutline:
    """What is shown of what `transfer.planning.outline.outline` returns.

    Parameters
    ----------
    target : tuple of blocks
    sources : tuple of ShownNetwork
    pairs : tuple of (int, int, int, float)
        Source, layer of the source, layer of the target, score in [0, 1].
    """

    target: tuple[tuple[ShownLayer, ...], ...]
    sources: tuple[ShownNetwork, ...]
    pairs: tuple[tuple[int, int, int, float], ...]

    @classmethod
    def from_json(cls, values: Any) -> ShownOutline:
        """Read JSON values, which may come from anywhere.

        Raises
        ------
        ValueError
            If they are not those of an outline, or of networks too large to be shown.
        """
        match values:
            case {"target": target, "sources": list(sources), "pairs": list(pairs)} if 0 < len(sources) <= 100:
                own = _blocks(target)
                found = tuple(map(_network, sources))
            case _:
                raise ValueError("expected the outline of a plan")
        sizes = [_n_layers(network.blocks) for network in found]
        if len(pairs) > _MOST_TENSORS:
            raise ValueError(f"expected at most {_MOST_TENSORS} pairs of layers")
        return cls(own, found, tuple(_pair(pair, sizes, _n_layers(own)) for pair in pairs))


def _n_layers(blocks: tuple[tuple[ShownLayer, ...], ...]) -> int:
    return sum(map(len, blocks))


def _network(values: Any) -> ShownNetwork:
    match values:
        case {"name": str(name), "blocks": blocks}:
            return ShownNetwork(plain(name), _blocks(blocks))
    raise ValueError("expected name and blocks of a source")


def _blocks(values: Any) -> tuple[tuple[ShownLayer, ...], ...]:
    blocks = tuple(tuple(map(_layer, _list(block))) for block in _list(values))
    if sum(len(layer.tensors) or 1 for block in blocks for layer in block) > _MOST_TENSORS:
        raise ValueError(f"expected a network of at most {_MOST_TENSORS} tensors")
    return blocks


def _layer(values: Any) -> ShownLayer:
    match values:
        case [str(path), str(kind), list(tensors)]:
            return ShownLayer(plain(path), plain(kind), tuple(map(_tensor, tensors)))
    raise ValueError("expected path, kind and tensors of a layer")


def _tensor(values: Any) -> tuple[str, tuple[int, ...]]:
    match values:
        case [str(name), list(shape)] if len(shape) <= _MOST_DIMS and all(
            type(n) is int and 0 <= n <= _MOST_SIZE for n in shape
        ):
            return plain(name), tuple(shape)
    raise ValueError("expected name and shape of a tensor")


def _pair(values: Any, n_source: list[int], n_target: int) -> tuple[int, int, int, float]:
    match values:
        case [int(i), int(a), int(b), float() | int() as score] if (
            0 <= i < len(n_source) and 0 <= a < n_source[i] and 0 <= b < n_target and isfinite(score)
        ):
            return i, a, b, min(max(float(score), 0.0), 1.0)
    raise ValueError("expected a pair of layers")


def _list(values: Any) -> list[Any]:
    if not isinstance(values, list):
        raise ValueError("expected a list")
    return values
