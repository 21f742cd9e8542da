"""Which channels of a group matter most, from weights alone.

The score of a channel is its share in the squared weights of each layer that reads it, added up over these layers;
shares, because a norm after the layer makes the scale of its weights arbitrary. Between networks of one family this
kept more of the source's function than the norm of the rows that write a channel (Li et al., arXiv 1608.08710), the
scale of its batch norm (Liu et al., arXiv 1708.06519), both together, or the share of the readers' variance.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import torch

from transfer.channels.flattening import LEADING_BY_PLACE
from transfer.channels.groups import Group, Port

if TYPE_CHECKING:
    from transfer.planning.planned import TransferPlan
    from transfer.weights.reading import Reader

__all__ = ["channel_scores", "importance_orders", "narrowed"]


def importance_orders(groups: Iterable[Group], read: Reader) -> dict[Group, torch.Tensor]:
    """Order the channels of each group, the most important one first; equal ones keep their order.

    Parameters
    ----------
    groups : iterable of Group
    read : callable
        Returns the tensor of a name.

    Returns
    -------
    dict of Group to Tensor
        Permutations, for `Reordered`.
    """
    return {group: channel_scores(group, read).argsort(descending=True, stable=True) for group in groups}


@torch.no_grad()
def channel_scores(group: Group, read: Reader) -> torch.Tensor:
    """Return a number for each channel of a group, larger for a more important one.

    Parameters
    ----------
    group : Group
    read : callable

    Returns
    -------
    Tensor
        On the CPU, in double precision; what is not finite counts as nothing.
    """
    score = torch.zeros(group.width, dtype=torch.float64)
    for port in group.ports:
        if port.side == "reads":
            columns = _squared_columns(read(port.tensor), port, group.width)
            score += columns / columns.sum().clamp(min=1e-30)
    return score


def _squared_columns(weight: torch.Tensor, port: Port, width: int) -> torch.Tensor:
    """Sum of the squares of the weights that read each channel."""
    moved = weight.detach().to("cpu", torch.float32).movedim(port.dim, 0)
    squares = moved.reshape(port.parts, width, port.stride, -1).square().nan_to_num(0, 0, 0)
    return squares.sum((0, 2, 3), dtype=torch.float64)


def narrowed(groups: Iterable[Group], planned: TransferPlan) -> list[Group]:
    """Keep the groups of which the target takes fewer channels than there are; the others may stay in order.

    Parameters
    ----------
    groups : iterable of Group
        Of the source.
    planned : TransferPlan

    Returns
    -------
    list of Group
    """
    taken = _taken(planned)
    return [group for group in groups if any(_is_cut(port, group.width, taken) for port in group.ports)]


def _is_cut(port: Port, width: int, taken: Mapping[tuple[str, int], int]) -> bool:
    return 0 < taken.get((port.tensor, port.dim), 0) < width * port.parts * port.stride


def _taken(planned: TransferPlan) -> dict[tuple[str, int], int]:
    """How far the plan reaches into each dimension of each source tensor."""
    found: dict[tuple[str, int], int] = {}
    for row in planned.tensors:
        if row.operator == LEADING_BY_PLACE and row.transform is not None:
            continue  # its regions are of other places than the source's
        for region in row.regions:
            for dim, (start, size) in enumerate(zip(region.source_start, region.size, strict=True)):
                key = region.tensor or row.source or "", dim
                found[key] = max(found.get(key, 0), start + size)
    return found
