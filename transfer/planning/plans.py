"""The plan: what an alignment means for every single tensor of the target, from headers alone.

Nothing is read or written here, so a plan can be looked at before any weight is downloaded.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from transfer.alignment.matching import Alignment, match
from transfer.alignment.scaling import at_common_scale
from transfer.errors import InputError
from transfer.operators import centred_fill, refusal
from transfer.options import Options
from transfer.planning.dpiat_rows import dpiat_rows
from transfer.planning.planned import PlannedTensor, TransferPlan, filled, fresh
from transfer.planning.ties import without_ties
from transfer.structure.order import read_like
from transfer.structure.records import Architecture, Header
from transfer.structure.standardization import as_module, check_form, header_of, standardize_header

if TYPE_CHECKING:
    from torch import nn

    from transfer.structure.standardization import NetworkLike

__all__ = ["plan", "plan_alignment"]

_UNORDERED = (
    "the file of the source is sorted by name and has other names than the target: the order of its layers is a "
    "guess; a torch file, or a safetensors file written by zoo, tells the order"
)


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
    if options is not None and not isinstance(options, Options):
        raise InputError(
            f"expected transfer.Options, got {type(options).__name__}; say transfer.Options(head=False)"
        )
    if form == "paper":
        return plan_alignment(match(source, target, method=form), target, options=options)
    header = header_of(target)
    module = as_module(target)
    target_form = target if isinstance(target, Architecture) else standardize_header(header, module)
    if isinstance(source, str | os.PathLike):
        from transfer.weights.checkpoint import open_checkpoint

        source = open_checkpoint(source)
    if getattr(source, "is_ordered", True):
        return _planned(match(source, target_form), header, module, options)
    architecture, is_sure = read_like(header_of(source), header)
    alignment = match(architecture, target_form)
    if is_sure:
        return _planned(alignment, header, module, options)
    # parallel layers could be told apart by their order alone
    made = _planned(alignment, header, module, replace(options or Options(), split_fused=False))
    return replace(made, note=_UNORDERED)


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
    return _planned(alignment, header_of(target), as_module(target), options)


def _planned(
    alignment: Alignment, header: Header, module: nn.Module | None, options: Options | None
) -> TransferPlan:
    form = alignment.target.form
    if form == "paper":
        planned, similarity = _paper_rows(alignment), alignment.similarity
        unseen = "the published method moves weight and bias of convolution, linear and batch norm only"
    else:
        alignment, similarity = at_common_scale(alignment)
        alignment, planned = dpiat_rows(alignment, options or Options(), module)
        unseen = ""
    seen = {tensor.name for tensor in alignment.target.tensors()}
    unmatched = "no source layer was matched"
    rows = tuple(
        planned.get(name) or PlannedTensor(name, shape, "fresh", reason=unmatched if name in seen else unseen)
        for name, (shape, _) in header.items()
    )
    if module is not None:
        rows = without_ties(rows, module.state_dict(keep_vars=True))
    return TransferPlan(method=form, similarity=similarity, tensors=rows, alignment=alignment)


def _paper_rows(alignment: Alignment) -> dict[str, PlannedTensor]:
    rows = {}
    for pair in alignment.pairs:
        by_role = {t.role: t for t in pair.source.tensors}
        for tensor in pair.target.tensors:
            source = by_role.get(tensor.role)
            reason = refusal(source, tensor)
            if source is None or reason:
                rows[tensor.name] = fresh(tensor, reason)
            else:
                rows[tensor.name] = filled(source, tensor, centred_fill(source, tensor))
    return rows
