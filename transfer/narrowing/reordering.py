"""A source whose channels come in another order: the same function, read by the same names.

A transfer into a narrower target keeps leading channels. Sorting the channels of the source first, alike in all
dimensions that are coupled, decides which ones these are, and nothing else of the transfer has to know.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from transfer.channels.groups import Group, Port
from transfer.weights.reading import Index, Reader

__all__ = ["Reordered", "positions"]


class Reordered:
    """Reads tensors with the channels of some groups permuted.

    Parameters
    ----------
    read : callable
        Returns the tensor of a name.
    orders : mapping of Group to Tensor
        For each group its channels in their new order.
    """

    def __init__(self, read: Reader, orders: Mapping[Group, torch.Tensor]) -> None:
        self._read = read
        self._places: dict[str, list[tuple[int, torch.Tensor]]] = {}
        for group, order in orders.items():
            for port in group.ports:
                place = port.dim, positions(port, order)
                self._places.setdefault(port.tensor, []).append(place)

    def __call__(self, name: str, index: Index | None = None) -> torch.Tensor:
        """Return a tensor, or a part of it, as if it were stored in the new order."""
        places = self._places.get(name)
        if places is None:
            return self._read(name) if index is None else self._read(name, index)
        value = self._read(name)
        for dim, chosen in places:
            if index is not None and dim < len(index):
                chosen = chosen[index[dim]]
            value = value.index_select(dim, chosen.to(value.device))
        if index is None:
            return value
        permuted = {dim for dim, _ in places}
        return value[tuple(slice(None) if d in permuted else part for d, part in enumerate(index))]


def positions(port: Port, order: torch.Tensor) -> torch.Tensor:
    """Spell out an order of channels as one of the indices along a port.

    Parameters
    ----------
    port : Port
    order : Tensor
        A permutation of the group's channels.
    """
    width = len(order)
    parts = torch.arange(port.parts)[:, None, None] * (width * port.stride)
    return (parts + order[None, :, None] * port.stride + torch.arange(port.stride)).flatten()
