"""Batch norms of a smaller target: what was left out is taken out of their running statistics.

A layer that reads fewer channels, or the sum of fewer blocks, returns another mean and a smaller variance than the
running statistics of the batch norm after it tell. Both follow from weights alone (`moments`). The mean that cut
channels contributed is subtracted. The variance falls with the part of it that is left, and faster where inputs are
correlated, which the running variance gives away: it is larger than the sum of what the inputs contribute alone.

Blocks that are left out count in the variance, and only where they carry much of it: their means, and smaller
parts, brought the statistics nearer to what they are and real networks further from their source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from transfer.narrowing.moments import Expected, expected_inputs, following_norm
from transfer.resampling.dimensions import changes_dimensions_only

if TYPE_CHECKING:
    from collections.abc import Iterable

    from transfer.channels.groups import Group
    from transfer.planning.planned import TransferPlan
    from transfer.structure.records import Layer
    from transfer.weights.reading import Index, Reader

__all__ = ["Compensated"]

_SMALL = 1e-12
"""Variances below this count as this."""

_LEAST_SHARE = 0.05
"""A batch norm's variance is not reduced below this part of it."""

_MOST_WITHOUT_BLOCKS = 0.75
"""Blocks that were left out count if no more than this part of the variance is left."""


class Compensated:
    """Reads tensors, running statistics as they are once the target's layers read fewer channels.

    Parameters
    ----------
    read : callable
        Returns the tensor of a name, reordered already if it is to be.
    planned : TransferPlan
    groups : iterable of Group
        Of the source.
    """

    def __init__(self, read: Reader, planned: TransferPlan, groups: Iterable[Group]) -> None:
        self._read = read
        source = planned.alignment.source
        own = {pair.source_item for pair in planned.alignment.pairs}
        used = {layer.path for i, item in enumerate(source.items) if i in own for layer in item.layers}
        used |= planned.read_layers()
        inputs = expected_inputs(source, groups, read, used)
        kept = _kept_inputs(planned)
        layers = list(source.layers())
        self._changed: dict[str, torch.Tensor] = {}
        for i, layer in enumerate(layers):
            weight = layer.tensors[0].name if layer.tensors else ""
            norm = following_norm(layers, i) if weight in inputs and weight in kept else None
            if norm is not None:
                self._changed.update(_changed(read, norm, read(weight), inputs[weight], kept[weight]))

    @property
    def names(self) -> frozenset[str]:
        """Names of the tensors that differ from what they were."""
        return frozenset(self._changed)

    def __call__(self, name: str, index: Index | None = None) -> torch.Tensor:
        """Return a tensor, or a part of it."""
        value = self._changed.get(name)
        if value is None:
            return self._read(name) if index is None else self._read(name, index)
        return value if index is None else value[index[: value.dim()]]


def _kept_inputs(planned: TransferPlan) -> dict[str, torch.Tensor]:
    """Say for each source weight which of its inputs the target reads; no weight that it reads in two ways."""
    found: dict[str, torch.Tensor | None] = {}
    for row in planned.tensors:
        if row.source is None or row.source_shape is None or len(row.source_shape) < 2 or len(row.shape) < 2:
            continue
        if row.transform is not None and not changes_dimensions_only(row.transform):
            continue
        kept = torch.zeros(row.source_shape[1], dtype=torch.bool)
        for region in row.regions:
            kept[region.source_start[1] : region.source_start[1] + region.size[1]] = True
        known = found.setdefault(row.source, kept)
        if known is None or not torch.equal(known, kept):
            found[row.source] = None
    return {name: kept for name, kept in found.items() if kept is not None}


@torch.no_grad()
def _changed(
    read: Reader, norm: Layer, weight: torch.Tensor, inputs: Expected, kept: torch.Tensor
) -> dict[str, torch.Tensor]:
    """Recompute the running statistics of a batch norm whose layer reads less than it did; empty if they stay."""
    whole, left = inputs
    names = {tensor.role: tensor.name for tensor in norm.tensors}
    mean, var = read(names["running_mean"]), read(names["running_var"])
    matrix = weight.detach().to("cpu", torch.float32)
    positions = matrix.flatten(2) if matrix.dim() > 2 else matrix[..., None]
    lost = positions.sum(2)[:, ~kept] @ whole.mean[~kept]
    squares = positions.square().sum(2)
    alone = squares @ whole.var
    if float((squares @ left.var).sum()) > _MOST_WITHOUT_BLOCKS * float(alone.sum()):
        left = whole
    if bool(kept.all()) and left is whole:
        return {}
    part = squares[:, kept] @ left.var[kept] / alone.clamp(min=_SMALL)
    uncorrelated = alone / var.detach().to("cpu", torch.float32).clamp(min=_SMALL)
    share = (part * (uncorrelated + (1 - uncorrelated) * part)).clamp(_LEAST_SHARE, 1)
    if not (lost.isfinite().all() and share.isfinite().all()):
        return {}  # whoever reads the weights will refuse them, by their own name
    return {
        names["running_mean"]: mean - lost.to(mean),
        names["running_var"]: var * share.to(var),
    }
