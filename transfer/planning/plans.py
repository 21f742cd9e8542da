"""The plan: what an alignment means for every single tensor of the target, from headers alone.

Nothing is read or written here, so a plan can be looked at before any weight is downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from transfer.alignment.matching import Alignment, match
from transfer.planning.channels import choose_channels
from transfer.planning.fusion import Parts, fill_parts, pair_parts
from transfer.planning.insertions import pack_insertions, place_insertions
from transfer.planning.meaning import head_paths
from transfer.planning.operators import (
    LEADING,
    Constant,
    Fill,
    Region,
    Transform,
    centred_fill,
    channel_fill,
    refusal,
)
from transfer.planning.options import Options
from transfer.structure.records import Form, Layer, Tensor
from transfer.structure.standardization import as_module, check_form, header_of

if TYPE_CHECKING:
    from torch import nn

    from transfer.structure.standardization import NetworkLike

__all__ = ["STATUSES", "PlannedTensor", "TransferPlan", "count_statuses", "plan", "plan_alignment"]

STATUSES = ("copied", "cropped", "grown", "resampled", "identity", "fresh")


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """What will happen to one tensor of the target.

    Parameters
    ----------
    name : str
        In the target's state dict.
    shape : tuple of int
    status : {'copied', 'cropped', 'grown', 'resampled', 'identity', 'fresh'}
        ``copied``: equal shapes. ``cropped``: filled from a part of a larger tensor. ``grown``: some of its
        elements are filled from the source, the others keep their initialisation or are set to a constant.
        ``resampled``: filled from the source on another grid. ``identity``: set so that an inserted layer or
        block starts by returning its input. ``fresh``: left as it is.
    source : str or None
        Name of the source tensor; the first one where there are several.
    source_shape : tuple of int or None
    operator : str
        How the regions were chosen; empty for ``fresh``.
    regions : tuple of Region
        Copied; their target boxes do not overlap.
    constants : tuple of Constant
        Set in this order, before the regions are copied.
    transform : Transform or None
        Applied to the source tensor first; regions and their bounds then refer to its result.
    scale : float
        Factor on what is copied.
    reason : str
        Why it is fresh, or what was lost.
    """

    name: str
    shape: tuple[int, ...]
    status: str
    source: str | None = None
    source_shape: tuple[int, ...] | None = None
    operator: str = ""
    regions: tuple[Region, ...] = ()
    constants: tuple[Constant, ...] = ()
    transform: Transform | None = None
    scale: float = 1.0
    reason: str = ""

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the source tensors that regions are copied from, each once."""
        names = [region.tensor or self.source or "" for region in self.regions]
        return tuple(dict.fromkeys(name for name in names if name))

    @property
    def n_written(self) -> int:
        """Number of elements that the source supplies."""
        return sum(region.target.n_elements for region in self.regions)

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


def plan(
    source: NetworkLike, target: NetworkLike, *, method: str = "dpiat", options: Options | None = None
) -> TransferPlan:
    """Plan a transfer from headers alone.

    Parameters
    ----------
    source, target : nn.Module, state dict, Checkpoint, path or Architecture
    method : {'dpiat', 'paper'}
    options : Options, optional
        For ``dpiat``; the published method has none.

    Returns
    -------
    TransferPlan

    Raises
    ------
    MethodError, CheckpointError, InputError
        As `standardize`.
    """
    form = check_form(method)
    return plan_alignment(match(source, target, method=form), target, options=options)


def plan_alignment(alignment: Alignment, target: NetworkLike, *, options: Options | None = None) -> TransferPlan:
    """Turn an alignment into tensor copies.

    Parameters
    ----------
    alignment : Alignment
    target : NetworkLike
        The network that was aligned; its header lists the tensors that the alignment knows nothing of.
    options : Options, optional

    Returns
    -------
    TransferPlan
    """
    form = alignment.target.form
    if form == "paper":
        planned = _paper_rows(alignment)
        unseen = "the published method moves weight and bias of convolution, linear and batch norm only"
    else:
        planned = _dpiat_rows(alignment, options or Options(), as_module(target))
        unseen = ""
    seen = {tensor.name for tensor in alignment.target.tensors()}
    unmatched = "no source layer was matched"
    return TransferPlan(
        method=form,
        similarity=alignment.similarity,
        tensors=tuple(
            planned.get(name) or PlannedTensor(name, shape, "fresh", reason=unmatched if name in seen else unseen)
            for name, (shape, _) in header_of(target).items()
        ),
        alignment=alignment,
    )


def _paper_rows(alignment: Alignment) -> dict[str, PlannedTensor]:
    rows = {}
    for pair in alignment.pairs:
        by_role = {t.role: t for t in pair.source.tensors}
        for tensor in pair.target.tensors:
            source = by_role.get(tensor.role)
            reason = refusal(source, tensor)
            if source is None or reason:
                rows[tensor.name] = _fresh(tensor, reason)
            else:
                rows[tensor.name] = _filled(source, tensor, centred_fill(source, tensor))
    return rows


def _dpiat_rows(alignment: Alignment, options: Options, module: nn.Module | None) -> dict[str, PlannedTensor]:
    identity: dict[str, tuple[Constant, ...]] = {}
    if options.identity_blocks:
        alignment, identity = place_insertions(alignment, module)
    else:
        alignment = pack_insertions(alignment)
    rows = {}
    heads = head_paths(alignment.target), head_paths(alignment.source)
    parts: tuple[Parts, ...] = ()
    if options.split_fused:
        alignment, parts = pair_parts(alignment)
    fused = fill_parts(parts, zero_new_inputs=options.zero_new_inputs)
    channels = choose_channels(alignment, options)
    for pair in alignment.pairs:
        by_role = {t.role: t for t in pair.source.tensors}
        head_reason = _head_reason(pair.source, pair.target, heads, options)
        for tensor in pair.target.tensors:
            source = by_role.get(tensor.role)
            reason = head_reason or refusal(source, tensor)
            if source is None or reason:
                rows[tensor.name] = _fresh(tensor, reason)
                continue
            choice = channels.get(pair.target.path, LEADING)
            fill = channel_fill(source, tensor, pair.target, choice, zero_new_inputs=options.zero_new_inputs)
            rows[tensor.name] = _filled(source, tensor, fill)
    for tensor in alignment.target.tensors():
        if tensor.name in fused:
            rows[tensor.name] = _filled(fused[tensor.name][0], tensor, fused[tensor.name][1])
        if tensor.name in identity:
            rows[tensor.name] = PlannedTensor(
                tensor.name,
                tensor.shape,
                "identity",
                operator="identity",
                constants=identity[tensor.name],
                reason="it was inserted and starts by passing its input on",
            )
    return rows


def _head_reason(source: Layer, target: Layer, heads: tuple[set[str], set[str]], options: Options) -> str:
    """Why a classifier is left fresh; empty for other layers and for classifiers of the same classes."""
    if target.path not in heads[0]:
        return ""
    if not options.head:
        return "the classifier was to be left out"
    if source.path in heads[1] and source.dims is not None and target.dims is not None:
        n_source, n_target = source.dims[0], target.dims[0]
        if n_source != n_target:
            return f"the source tells {n_source} classes apart, the target {n_target}"
    return ""


def _fresh(target: Tensor, reason: str) -> PlannedTensor:
    return PlannedTensor(target.name, target.shape, "fresh", reason=reason)


def _filled(source: Tensor, target: Tensor, fill: Fill) -> PlannedTensor:
    n_copied = sum(region.target.n_elements for region in fill.regions)
    n_cleared = sum(constant.box.n_elements for constant in fill.constants)
    reason = ""
    if fill.operator == "copy":
        status = "copied"
    elif fill.operator == "by part" and n_copied == target.size and fill.regions[0].size[1:2] == source.shape[1:2]:
        status, reason = "copied", "the same map, fused in one of the networks and separate in the other"
    elif n_copied == target.size:
        status, reason = "cropped", f"source has {source.size} elements, target takes {n_copied}"
    else:
        status = "grown"
        n_zero = max(n_cleared - n_copied, 0)
        reason = f"{n_copied} of {target.size} elements from the source, {n_zero} set to zero"
    return PlannedTensor(
        target.name,
        target.shape,
        status,
        source.name,
        source.shape,
        fill.operator,
        fill.regions,
        fill.constants,
        reason=reason,
    )
