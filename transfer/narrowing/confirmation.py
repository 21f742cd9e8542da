"""Are channels coupled as they seem? Asked of the network itself, on random input.

A header does not show an addition to a part of the channels, or a concatenation as wide as something else. So where
the source is a module, a copy of it is filled with random values and run twice, with and without its channels
permuted: groups that change what it returns are left alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from transfer.channels.groups import Group
from transfer.narrowing.reordering import Reordered
from transfer.tracing.copies import bare_copy
from transfer.tracing.given import Example
from transfer.tracing.inputs import runnable
from transfer.tracing.isolation import careful
from transfer.tracing.outputs import named_outputs
from transfer.weights.reading import StateReader

__all__ = ["confirmed_groups"]


@careful(None)
@torch.no_grad()
def confirmed_groups(source: nn.Module, groups: Sequence[Group]) -> tuple[Group, ...] | None:
    """Keep the groups whose permutation leaves a network's function as it is.

    Parameters
    ----------
    source : nn.Module
        Not changed; may be on the meta device.
    groups : sequence of Group

    Returns
    -------
    tuple of Group or None
        None if the network could not be run: on what was given for it, or any of the usual inputs.
    """
    found = runnable(source)
    if found is None:
        return None
    generator = torch.Generator().manual_seed(1)
    example = found[1].mapped(lambda x: _with_values(x, generator))
    network = _random_copy(source)
    expected = list(named_outputs(example(network)).values())
    if not expected or not all(bool(output.isfinite().all()) for output in expected):
        return None
    return tuple(_kept(network, example, expected, list(groups)))


def _kept(
    network: nn.Module, example: Example, expected: Sequence[torch.Tensor], groups: list[Group]
) -> list[Group]:
    """Halve the groups until those that change the result are alone."""
    if not groups or _is_same(network, example, expected, groups):
        return groups
    if len(groups) == 1:
        return []
    half = len(groups) // 2
    kept = _kept(network, example, expected, groups[:half]) + _kept(network, example, expected, groups[half:])
    return kept if _is_same(network, example, expected, kept) else []


def _is_same(
    network: nn.Module, example: Example, expected: Sequence[torch.Tensor], groups: Sequence[Group]
) -> bool:
    generator = torch.Generator().manual_seed(2)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    orders = {group: torch.randperm(group.width, generator=generator) for group in groups}
    read = Reordered(StateReader(before.__getitem__), orders)
    for name, tensor in network.state_dict().items():
        tensor.copy_(read(name))
    found = list(named_outputs(example(network)).values())
    for name, tensor in network.state_dict().items():
        tensor.copy_(before[name])
    return all(
        bool((output - wanted).abs().max() <= 1e-6 * wanted.abs().max())
        for output, wanted in zip(found, expected, strict=True)
    )


def _random_copy(source: nn.Module) -> nn.Module:
    """Copy a module to the CPU, in double precision and with values of ordinary size."""
    network = bare_copy(source)
    if any(tensor.is_meta for tensor in (*network.parameters(), *network.buffers())):
        network.to_empty(device="cpu")
        for buffer in network.buffers():  # index tables and masks: any value will do that is a valid index
            buffer.zero_()
    network.to("cpu", torch.float64).eval()
    generator = torch.Generator().manual_seed(0)
    for name, tensor in network.state_dict().items():
        if not tensor.is_floating_point():
            tensor.zero_()
        elif tensor.dim() > 1:
            fan_in = max(tensor[0].numel(), 1)
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * fan_in**-0.5)
        elif name.endswith("bias"):
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.2)
        else:
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return network


def _with_values(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    if x.is_floating_point():
        return torch.randn(x.shape, generator=generator, dtype=torch.float64)
    return torch.zeros(x.shape, dtype=x.dtype)  # the one index that every table has
