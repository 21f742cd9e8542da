"""Tensors that have several names in a network: each is written once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from transfer.planning.planned import PlannedTensor

if TYPE_CHECKING:
    import torch

__all__ = ["without_ties"]


def without_ties(planned: Sequence[PlannedTensor], state: Mapping[str, torch.Tensor]) -> tuple[PlannedTensor, ...]:
    """Let each tensor that has several names be written once, under the first name that something feeds.

    Parameters
    ----------
    planned : sequence of PlannedTensor
    state : mapping of str to Tensor
        Of the target, with the tensors themselves.

    Returns
    -------
    tuple of PlannedTensor
        The other names say what happens to them and why nothing is to be done.
    """
    keys = {row.name: _key(state[row.name]) for row in planned}
    writer: dict[Hashable, PlannedTensor] = {}
    for row in planned:
        known = writer.setdefault(keys[row.name], row)
        if not (known.regions or known.constants) and (row.regions or row.constants):
            writer[keys[row.name]] = row
    rows = []
    for row in planned:
        first = writer[keys[row.name]]
        if first is not row:
            reason = f"tied to {first.name!r}"
            row = replace(
                first, name=row.name, regions=(), constants=(), reason=reason, tied_to=first.name, no_larger_than=""
            )
        rows.append(row)
    return tuple(rows)


def _key(tensor: torch.Tensor) -> Hashable:
    """Tell tensors apart: parameters may share their elements without being one object."""
    try:
        place = tensor.data_ptr()
    except RuntimeError:  # sparse tensors and the like have no place of their own
        place = 0
    return (place, tensor.device, tensor.dtype, tensor.shape, tensor.stride()) if place else id(tensor)
