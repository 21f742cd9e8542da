"""The plan: what an alignment means for every single tensor of the target, from headers alone.

Nothing is read or written here, so a plan can be looked at before any weight is downloaded.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from transfer.alignment.matching import Alignment, match
from transfer.alignment.scaling import at_common_scale
from transfer.alignment.towers import find_towers
from transfer.errors import InputError
from transfer.operators import centred_fill, refusal
from transfer.options import Options
from transfer.planning.dpiat_rows import dpiat_rows
from transfer.planning.heads import quiet_heads
from transfer.planning.joined import joined_plans
from transfer.planning.planned import PlannedTensor, TransferPlan, filled, fresh
from transfer.planning.ties import without_ties
from transfer.structure.meaning import is_lookup, is_weighted
from transfer.structure.order import have_same_names, read_like
from transfer.structure.records import Architecture, Header
from transfer.structure.standardization import (
    as_module,
    check_form,
    header_of,
    read_names,
    standardize,
    standardize_header,
)

if TYPE_CHECKING:
    from torch import nn

    from transfer.structure.standardization import NetworkLike

__all__ = ["plan", "plan_alignment"]

_NOT_RUN = (
    "the {} could not be run on any of the usual inputs: layers are in the order of registration; "
    "give an input that it takes (example=..., on the command line --input)"
)
_UNORDERED = (
    "the file of the source is sorted by name and has other names than the target: the order of its layers is a "
    "guess; a torch file, or a safetensors file written by zoo, tells the order"
)


def plan(
    source: NetworkLike,
    target: NetworkLike,
    *,
    method: str = "dpiat",
    options: Options | None = None,
    example: object = None,
) -> TransferPlan:
    """Plan a transfer from headers alone.

    Parameters
    ----------
    source, target : nn.Module, state dict, Checkpoint, path or Architecture
    method : {'dpiat', 'paper'}
    options : Options, optional
        For ``dpiat``; the published method has none.
    example : Tensor, tuple, mapping of str to object, or str, optional
        What the target takes, where a guess does not do: run as ``target(x)``, ``target(*x)`` or ``target(**x)``; a
        string such as ``3x64x64`` gives sizes without the batch. It is remembered as long as the target lives, and
        tried on a source that is a module, too.

    Returns
    -------
    TransferPlan

    Raises
    ------
    MethodError, CheckpointError, InputError
        As `standardize`; also if the target refuses the example, or cannot be run.
    """
    form = check_form(method)
    if example is not None:
        _give(example, source, target)
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
    if as_module(source) is not None or isinstance(source, Architecture):
        source_form = standardize(source)
        made = _planned(match(source_form, target_form), header, module, options)
        sides = ("source", source, source_form), ("target", target, target_form)
        unrun = [what for what, network, found in sides if as_module(network) is not None and not found.is_executed]
        return replace(made, note=_NOT_RUN.format(" and the ".join(unrun))) if unrun else made
    note = _NOT_RUN.format("target") if module is not None and not target_form.is_executed else ""
    names = header_of(source)
    if getattr(source, "is_ordered", True) and not have_same_names(names, header):
        return replace(_planned(match(standardize_header(names), target_form), header, module, options), note=note)
    executed = {tensor.name: header[tensor.name] for tensor in target_form.tensors()}
    input_first = {tensor.name for tensor in target_form.tensors() if tensor.is_input_first}
    factors = _factors(target_form) if target_form.is_executed else None
    architecture, is_sure = read_like(names, executed, input_first, read_names(target_form), factors)
    alignment = match(architecture, target_form)
    if is_sure:
        is_same = have_same_names(names, header)  # then order plays no part
        return replace(_planned(alignment, header, module, options), note="" if is_same else note)
    # parallel layers could be told apart by their order alone
    made = _planned(alignment, header, module, replace(options or Options(), split_fused=False))
    return replace(made, note="; ".join(filter(None, (note, _UNORDERED))))


def _factors(architecture: Architecture) -> set[str]:
    """Names of the matrices that something is multiplied by, of a network that was run."""
    return {
        layer.tensors[0].name
        for layer in architecture.layers()
        if layer.is_factor or (is_weighted(layer) and not is_lookup(layer))
    }


def _give(example: object, source: NetworkLike, target: NetworkLike) -> None:
    from transfer.tracing.given import give_example, given_example

    module, other = as_module(target), as_module(source)
    if module is None:
        raise InputError(
            f"expected a module as target of an example input, got {type(target).__name__}, which cannot be run; "
            "leave the example out"
        )
    give_example(module, example)
    if other is not None and given_example(other) is None:
        with suppress(InputError):  # the source may take something else
            give_example(other, example)


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
        chosen = options or Options()
        aligned, similarity = at_common_scale(alignment)
        towers = find_towers(alignment.source, alignment.target, similarity)
        if towers is None:
            alignment, planned = dpiat_rows(aligned, chosen, module)
        else:
            similarity = max(similarity, towers.similarity)
            alignment, planned = joined_plans(
                alignment, towers, header, module, chosen, lambda a, names, part: _planned(a, names, part, chosen)
            )
            planned |= quiet_heads(alignment, planned) if chosen.head and chosen.quiet_head else {}
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
