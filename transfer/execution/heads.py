"""Shrink the random weights of a fresh classifier to the spread of the source's."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, nan, prod, sqrt
from typing import TYPE_CHECKING

import torch

from transfer.errors import TransferError
from transfer.planning.planned import PlannedTensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transfer.weights.reading import Reader

__all__ = ["shrink", "shrinkages"]


def shrinkages(rows: Sequence[PlannedTensor], read: Reader, state: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """Factors, below 1, on tensors that are to be no larger than one of the source.

    Parameters
    ----------
    rows : sequence of PlannedTensor
    read : Reader
        Of the source.
    state : mapping of str to Tensor
        The target.

    Returns
    -------
    dict of str to float
        By name. Sizes are root mean squares times the root of the number of inputs: what decides how far outputs
        spread.
    """
    found = {}
    for row in rows:
        if not row.no_larger_than or row.tied_to:
            continue
        try:
            given = read(row.no_larger_than)
        except TransferError:  # a structure may have a classifier that the weights lack
            continue
        ours, theirs = _size(state[row.name]), _size(given)
        if isfinite(ours) and isfinite(theirs) and 0 < theirs < ours:
            found[row.name] = theirs / ours
    return found


def shrink(tensor: torch.Tensor, factor: float) -> None:
    """Multiply in place; in single precision, as small types do not multiply."""
    tensor.data.copy_(tensor.data.float() * factor)


def _size(weight: torch.Tensor) -> float:
    """NaN for what has no size."""
    if weight.is_meta or weight.layout is not torch.strided or not weight.is_floating_point():
        return nan
    n_inputs = prod(weight.shape[1:])
    return float(weight.detach().double().square().mean().sqrt()) * sqrt(n_inputs)
