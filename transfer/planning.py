"""The plan: what an alignment means for every single tensor of the target, from headers alone.

Nothing is read or written here, so a plan can be looked at before any weight is downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from transfer.matching import Alignment, match
from transfer.operators import Region, box, refusal
from transfer.records import Form, Layer, Tensor
from transfer.standardization import check_form, header_of

if TYPE_CHECKING:
    from transfer.standardization import NetworkLike

__all__ = ["STATUSES", "PlannedTensor", "TransferPlan", "count_statuses", "plan", "plan_alignment"]

STATUSES = ("copied", "cropped", "grown", "fresh")


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """What will happen to one tensor of the target.

    Parameters
    ----------
    name : str
        In the target's state dict.
    shape : tuple of int
    status : {'copied', 'cropped', 'grown', 'fresh'}
        ``copied``: equal shapes. ``cropped``: filled from a part of a larger tensor. ``grown``: some of its
        elements are filled, the others keep their own initialisation. ``fresh``: left as it is.
    source : str or None
        Name of the source tensor.
    source_shape : tuple of int or None
    operator : str
        How the regions were chosen; empty for ``fresh``.
    region : Region or None
    reason : str
        Why it is fresh, or what was lost.
    """

    name: str
    shape: tuple[int, ...]
    status: str
    source: str | None = None
    source_shape: tuple[int, ...] | None = None
    operator: str = ""
    region: Region | None = None
    reason: str = ""

    @property
    def n_written(self) -> int:
        """Number of elements that will be overwritten."""
        return self.region.n_elements if self.region else 0

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class TransferPlan:
    """Every tensor of the target, once, in the target's order.

    Parameters
    ----------
    method : {'paper', 'dpiat'}
    similarity : float
        In [0, 1].
    tensors : tuple of PlannedTensor
    alignment : Alignment
    """

    method: Form
    similarity: float
    tensors: tuple[PlannedTensor, ...]
    alignment: Alignment

    @cached_property
    def coverage(self) -> float:
        """Fraction of the target's elements that the source supplies, in [0, 1]."""
        n_elements = sum(Tensor("", t.shape).size for t in self.tensors)
        return sum(t.n_written for t in self.tensors) / n_elements if n_elements else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return {
            "method": self.method,
            "similarity": self.similarity,
            "coverage": self.coverage,
            "counts": count_statuses(self.tensors),
            "tensors": [tensor.to_json() for tensor in self.tensors],
        }


def count_statuses(tensors: Sequence[PlannedTensor]) -> dict[str, int]:
    """Count tensors by status."""
    return {status: sum(t.status == status for t in tensors) for status in STATUSES}


def plan(source: NetworkLike, target: NetworkLike, *, method: str = "dpiat") -> TransferPlan:
    """Plan a transfer from headers alone.

    Parameters
    ----------
    source, target : nn.Module, state dict, Checkpoint, path or Architecture
    method : {'dpiat', 'paper'}

    Returns
    -------
    TransferPlan

    Raises
    ------
    MethodError, CheckpointError, InputError
        As `standardize`.
    """
    form = check_form(method)
    return plan_alignment(match(source, target, method=form), target)


def plan_alignment(alignment: Alignment, target: NetworkLike) -> TransferPlan:
    """Turn an alignment into tensor copies.

    Parameters
    ----------
    alignment : Alignment
    target : NetworkLike
        The network that was aligned; its header lists the tensors that the alignment knows nothing of.

    Returns
    -------
    TransferPlan
    """
    form = alignment.target.form
    planned: dict[str, PlannedTensor] = {}
    for pair in alignment.pairs:
        by_role = {t.role: t for t in pair.source.tensors}
        for tensor in pair.target.tensors:
            planned[tensor.name] = _planned(by_role.get(tensor.role), tensor, pair.target, form)
    seen = {tensor.name for tensor in alignment.target.tensors()}
    unmatched = "no source layer was matched"
    unseen = "the published method moves weight and bias of convolution, linear and batch norm only"
    return TransferPlan(
        method=form,
        similarity=alignment.similarity,
        tensors=tuple(
            planned.get(name) or PlannedTensor(name, shape, "fresh", reason=unmatched if name in seen else unseen)
            for name, (shape, _) in header_of(target).items()
        ),
        alignment=alignment,
    )


def _planned(source: Tensor | None, target: Tensor, layer: Layer, form: Form) -> PlannedTensor:
    reason = refusal(source, target)
    if reason or source is None:
        return PlannedTensor(target.name, target.shape, "fresh", reason=reason)
    operator, region = box(source, target, layer, form)
    if operator == "copy":
        status = "copied"
    elif region.size == target.shape:
        status, reason = "cropped", f"source has {source.size} elements, target takes {region.n_elements}"
    else:
        status, reason = "grown", f"{target.size - region.n_elements} of {target.size} elements stay fresh"
    return PlannedTensor(target.name, target.shape, status, source.name, source.shape, operator, region, reason)
