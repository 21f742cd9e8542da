"""Which rows of which weights are the queries, keys and values of each head.

Code that keeps them in one layer may lay them out in any order: one after the other, head by head, channel by
channel. Shapes do not tell. Channels that are followed to the two products of an attention do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from transfer.tracing.flow import followed
from transfer.tracing.isolation import careful

__all__ = ["Attention", "trace_attentions"]

Rows = tuple[tuple[tuple[str, int], ...], ...]
"""For each head and each of its channels the name of a weight and the number of its row."""


@dataclass(frozen=True, slots=True)
class Attention:
    """Where an attention has its queries, keys and values from.

    Parameters
    ----------
    queries, keys, values : tuple of tuple of (str, int)
        For each head, for each of its channels: name of a weight, number of an output.
    """

    queries: Rows
    keys: Rows
    values: Rows

    def names(self) -> set[str]:
        """Names of the weights."""
        return {name for rows in (self.queries, self.keys, self.values) for head in rows for name, _ in head}


@careful(())
def trace_attentions(module: nn.Module) -> Sequence[Attention]:
    """Find the attentions of a network, in the order in which they run.

    Parameters
    ----------
    module : nn.Module
        Not changed; may be on the meta device. No value of it is used.

    Returns
    -------
    sequence of Attention
        Those of which everything is known; none if the network could not be run.
    """
    found = followed(module)
    if found is None:
        return ()
    shadows, _ = found
    owner = {
        number: (name, row)
        for name, numbers in shadows.writes.items()
        for row, number in enumerate(numbers.tolist())
    }
    attentions = []
    for products in shadows.attentions:
        queries, keys, values = (_owned(numbers, owner) for numbers in products)
        if queries and keys and values:
            attentions.append(Attention(queries, keys, values))
    return attentions


def _owned(numbers: torch.Tensor, owner: dict[int, tuple[str, int]]) -> Rows:
    """Say of which rows channels, (batch and heads, channels), are, once for a batch; none if one is unknown."""
    heads = dict.fromkeys(map(tuple, numbers.tolist()))
    if not all(number in owner for head in heads for number in head):
        return ()
    return tuple(tuple(owner[number] for number in head) for head in heads)
