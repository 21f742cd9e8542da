"""A generator of plausible architectures: timm's, varied in width, depth, kernel and kind of blocks.

Works on stored architectures (lists of layers and blocks), not on networks, so a million take minutes. Seeded;
every architecture has a fingerprint of its own.

width
    one factor for the network, for half of them another one for each of its widths; equal widths stay equal
depth
    stretches of equal blocks get between one and twice as many blocks, and one more
kernel
    depthwise convolutions of a stretch change between 3, 5 and 7
kind of block
    the second half of the network comes from another one of the same family
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from math import prod

from transfer.structure.records import Architecture, Block, Item, Layer, Tensor

FACTORS = (0.5, 0.625, 0.75, 0.875, 1.0, 1.125, 1.25, 1.5, 2.0)
JITTER = (0.75, 0.875, 1.0, 1.0, 1.125, 1.25)
KERNELS = (3, 5, 7)


def generate(
    families: Sequence[Sequence[Architecture]], n: int, seed: int = 0
) -> Iterator[tuple[Architecture, int]]:
    """Yield `n` architectures in ``dpiat`` form with their number of parameters.

    Parameters
    ----------
    families : sequence of sequence of Architecture
        What to vary, family by family.
    n, seed : int
    """
    draw = random.Random(seed)
    seen: set[int] = set()
    while len(seen) < n:
        family = draw.choice(families)
        items = list(draw.choice(family).items)
        if len(family) > 1 and draw.random() < 0.3:
            other = draw.choice(family).items
            items = items[: len(items) // 2] + list(other[len(other) // 2 :])
        architecture = _rewidened(_redeepened(items, draw), draw)
        fingerprint = int(architecture.fingerprint[:16], 16)
        if fingerprint not in seen:
            seen.add(fingerprint)
            yield architecture, _n_parameters(architecture)


def _redeepened(items: Sequence[Item], draw: random.Random) -> list[Item]:
    found: list[Item] = []
    i = 0
    while i < len(items):
        end = i + 1
        while end < len(items) and isinstance(items[i], Block) and _key(items[end]) == _key(items[i]):
            end += 1
        count = end - i
        if isinstance(items[i], Block) and draw.random() < 0.5:
            count = draw.randint(1, 2 * count + 1)
        kernel = draw.choice(KERNELS) if draw.random() < 0.3 else 0
        found += [_with_kernel(items[i], kernel)] * count
        i = end
    return found


def _key(item: Item) -> tuple[object, ...]:
    return tuple((layer.kind, layer.dims) for layer in item.layers)


def _with_kernel(item: Item, kernel: int) -> Item:
    if not kernel or not isinstance(item, Block):
        return item
    return Block(tuple(_reshaped(layer, _kernel_dims(layer, kernel)) for layer in item.layers))


def _kernel_dims(layer: Layer, kernel: int) -> tuple[int, ...] | None:
    dims = layer.dims
    is_depthwise = layer.kind == "conv2d" and dims is not None and dims[1] == 1 and dims[2] == dims[3] > 1
    return (*dims[:2], kernel, kernel) if is_depthwise and dims else dims


def _rewidened(items: Sequence[Item], draw: random.Random) -> Architecture:
    factor = draw.choice(FACTORS)
    varies = draw.random() < 0.5
    widths: dict[int, int] = {}

    def width(n: int) -> int:
        if n < 8 or n in (1000, 21841, 21843):
            return n
        if n not in widths:
            scaled = n * factor * (draw.choice(JITTER) if varies else 1.0)
            widths[n] = max(8, round(scaled / 8) * 8)
        return widths[n]

    known: dict[tuple[object, ...], Layer] = {}

    def layer_of(layer: Layer) -> Layer:
        key = (layer.kind, layer.dims, len(layer.tensors))
        if key not in known:
            known[key] = _reshaped(layer, _scaled_dims(layer, width))
        return known[key]

    made: dict[int, Item] = {}
    result: list[Item] = []
    for item in items:
        if id(item) not in made:
            made[id(item)] = Block(tuple(map(layer_of, item.layers))) if isinstance(item, Block) else layer_of(item)
        result.append(made[id(item)])
    return Architecture("dpiat", tuple(result))


def _scaled_dims(layer: Layer, width: object) -> tuple[int, ...] | None:
    dims = layer.dims
    if dims is None or not callable(width):
        return dims
    if layer.kind.startswith("parameter"):
        return (*dims[:-1], width(dims[-1])) if dims else dims
    return (*(width(n) for n in dims[:2]), *dims[2:])


def _reshaped(layer: Layer, dims: tuple[int, ...] | None) -> Layer:
    """Give a layer's first tensor a shape, and the others of its outputs the number they need."""
    if dims is None or dims == layer.dims:
        return layer
    first, *rest = layer.tensors
    others = [Tensor(t.role, dims[:1] if t.shape == first.shape[:1] else t.shape) for t in rest]
    return Layer(layer.kind, (Tensor(first.role, dims), *others))


def _n_parameters(architecture: Architecture) -> int:
    return sum(prod(t.shape) for t in architecture.tensors() if t.role not in ("running_mean", "running_var"))
