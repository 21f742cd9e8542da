"""Mean and variance of what a layer reads, from weights alone.

What a batch norm returns has mean beta and standard deviation gamma in every channel; taken as normal it gives the
mean after an activation, which is what the next layer reads. Which activation, and whether channels add up in a
residual stream, no header tells. But the next batch norm knows the mean of what it is given: the reading that
explains its running mean best is taken, and only if it explains it well. On EfficientNet-Lite that is 95% to 100%
of the variance of the running means after nearly every layer.

Data-free quantization corrects biases by the same means, knowing the activation (Nagel et al., arXiv 1906.04721).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch.nn import functional

from transfer.channels.groups import Group
from transfer.structure.records import Architecture, Layer

if TYPE_CHECKING:
    from transfer.weights.reading import Reader

__all__ = [
    "ACTIVATIONS",
    "Expected",
    "Moments",
    "activated",
    "expected_inputs",
    "explained_share",
    "following_norm",
    "of_role",
]

ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "none": lambda x: x,
    "relu": functional.relu,
    "relu6": functional.relu6,
    "silu": functional.silu,
    "hardswish": functional.hardswish,
    "gelu": functional.gelu,
}
_FLOWS = ("last", "sum", "sum of activated")
"""What a layer reads: the last batch norm's result, or the sum of all of the group so far, as in a residual stream;
there the activation comes before each layer, or after each addition."""

_QUANTILES = torch.special.ndtri((torch.arange(200, dtype=torch.float32, device="cpu") + 0.5) / 200)
"""Of the standard normal distribution, evenly likely; whatever type and device are the default on import."""
_LEAST_EXPLAINED = 0.3
"""Part of the variance of the running means that has to be explained."""


class Moments(NamedTuple):
    """Mean and variance of each channel."""

    mean: torch.Tensor
    var: torch.Tensor


_Reading = tuple[str, str]


class Expected(NamedTuple):
    """What a layer reads: in the source, and where only some of the source's layers are left."""

    whole: Moments
    left: Moments


@torch.no_grad()
def expected_inputs(
    architecture: Architecture, groups: Iterable[Group], read: Reader, used: Collection[str]
) -> dict[str, Expected]:
    """Expect mean and variance of the channels that layers read.

    Parameters
    ----------
    architecture : Architecture
        In ``dpiat`` form with tensor names.
    groups : iterable of Group
        Of this architecture.
    read : callable
        Returns the tensor of a name.
    used : collection of str
        Paths of the layers that are left.

    Returns
    -------
    dict of str to Expected
        By the name of the weight of the layer that reads; only layers whose batch norm confirms it.
    """
    layers = list(architecture.layers())
    place = {tensor.name: i for i, layer in enumerate(layers) for tensor in layer.tensors}
    found: dict[str, Expected] = {}
    for group in groups:
        if all(port.parts == port.stride == 1 for port in group.ports):
            events = dict.fromkeys((place[port.tensor], port.side) for port in group.ports)
            found.update(_follow(layers, list(events), read, used))
    return found


def _follow(
    layers: Sequence[Layer], events: Sequence[tuple[int, str]], read: Reader, used: Collection[str]
) -> dict[str, Expected]:
    """Go through the layers of a group in order, keeping what each reading says of its channels."""
    found: dict[str, Expected] = {}
    now: dict[_Reading, Moments] = {}
    left: dict[_Reading, Moments] = {}
    for i, side in events:
        layer = layers[i]
        if side == "scales" and layer.kind == "batchnorm":
            adds = i > 0 and (i - 1, "writes") in events  # else it normalizes what was there
            now = _after_norm(now, layer, read, adds=adds)
            if layer.path in used or not left:
                left = _after_norm(left, layer, read, adds=adds)
        elif side == "reads" and now and (norm := following_norm(layers, i)) is not None:
            weight = of_role(layer, "weight", read)
            sums = weight.flatten(2).sum(2) if weight.dim() > 2 else weight
            given = of_role(norm, "running_mean", read)
            explained = _LEAST_EXPLAINED
            for reading, moments in now.items():
                offered = _as_read(reading, moments)
                share = explained_share(given, sums @ offered.mean)
                if share > explained:
                    found[layer.tensors[0].name] = Expected(offered, _as_read(reading, left.get(reading, moments)))
                    explained = share
    return found


def _as_read(reading: _Reading, moments: Moments) -> Moments:
    return moments if reading[0] == _FLOWS[2] else activated(moments, reading[1])


def following_norm(layers: Sequence[Layer], i: int) -> Layer | None:
    """Return the batch norm right after a layer, if it normalizes the layer's outputs."""
    norm = layers[i + 1] if i + 1 < len(layers) else None
    return (
        norm
        if norm is not None and norm.kind == "batchnorm" and norm.dims == layers[i].tensors[0].shape[:1]
        else None
    )


def _after_norm(now: dict[_Reading, Moments], norm: Layer, read: Reader, *, adds: bool) -> dict[_Reading, Moments]:
    names = {tensor.role for tensor in norm.tensors}
    if not {"weight", "bias", "running_mean"} <= names:
        return {}
    own = Moments(of_role(norm, "bias", read), of_role(norm, "weight", read).square())
    after = {}
    for flow in _FLOWS:
        for activation in ACTIVATIONS:
            before = now.get((flow, activation))
            result = own
            if before is not None and adds and flow != "last":
                result = Moments(before.mean + own.mean, before.var + own.var)
            after[flow, activation] = activated(result, activation) if flow == _FLOWS[2] else result
    return after


def activated(moments: Moments, activation: str) -> Moments:
    """Mean and variance after an activation of what is normally distributed before."""
    spread = moments.var.clamp(min=0).sqrt()[:, None] * _QUANTILES
    values = ACTIVATIONS[activation](moments.mean[:, None] + spread)
    return Moments(values.mean(1), values.var(1, correction=0))


def explained_share(given: torch.Tensor, expected: torch.Tensor) -> float:
    """Part of the variance of `given` that `expected` explains; not a number if `given` is constant."""
    return 1 - float((given - expected).square().sum() / (given - given.mean()).square().sum())


def of_role(layer: Layer, role: str, read: Reader) -> torch.Tensor:
    """Read a tensor of a layer, on the CPU in single precision."""
    name = next(tensor.name for tensor in layer.tensors if tensor.role == role)
    return read(name).detach().to("cpu", torch.float32)
