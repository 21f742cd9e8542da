"""The plan: what an alignment means for every single tensor of the target, from headers alone.

Nothing is read or written here, so a plan can be looked at before any weight is downloaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from transfer.alignment.any_order import in_common, was_run
from transfer.alignment.matching import Alignment, match
from transfer.alignment.scaling import at_common_scale
from transfer.alignment.towers import find_towers
from transfer.errors import InputError, MethodError
from transfer.operators import centred_fill, refusal
from transfer.options import Options
from transfer.planning.cautions import with_cautions
from transfer.planning.dpiat_rows import dpiat_rows
from transfer.planning.heads import quiet_heads
from transfer.planning.joined import joined_plans
from transfer.planning.planned import PlannedTensor, TransferPlan, filled, fresh
from transfer.planning.rest import part_for, plan_rest
from transfer.planning.several import called, joined, numbered
from transfer.planning.sides import read_sides
from transfer.planning.ties import without_ties
from transfer.structure.headers import as_module, header_of
from transfer.structure.records import Header
from transfer.structure.standardization import check_form

if TYPE_CHECKING:
    from torch import nn

    from transfer.structure.headers import NetworkLike

__all__ = ["plan", "plan_alignment", "plan_each"]


def plan(
    source: NetworkLike | Sequence[NetworkLike],
    target: NetworkLike,
    *,
    method: str = "dpiat",
    options: Options | None = None,
    example: object = None,
    source_names: Sequence[str] = (),
) -> TransferPlan:
    """Plan a transfer from headers alone.

    Parameters
    ----------
    source, target : nn.Module, state dict, Checkpoint, path or Architecture
        A list or tuple of sources: what the first leaves fresh is filled by the next, and so on.
    method : {'dpiat', 'paper'}
    options : Options, optional
        For ``dpiat``; the published method has none.
    example : Tensor, tuple, mapping of str to object, or str, optional
        What the target takes, where a guess does not do: run as ``target(x)``, ``target(*x)`` or ``target(**x)``; a
        string such as ``3x64x64`` gives sizes without the batch. It is remembered as long as the target lives, and
        tried on a source that is a module, too.
    source_names : sequence of str
        What several sources are called, for `PlannedTensor.supplier`; by default after their files or classes.

    Returns
    -------
    TransferPlan

    Raises
    ------
    MethodError, CheckpointError, InputError
        As `standardize`; also if the target refuses the example, or cannot be run, or if there are several sources
        for ``paper``.
    """
    sources = cast("Sequence[NetworkLike]", source if isinstance(source, list | tuple) else [source])
    parts = plan_each(sources, target, method=method, options=options, example=example)
    if len(parts) == 1:
        return parts[0]
    if source_names and len(source_names) != len(sources):
        raise InputError(
            f"expected source_names to be {len(sources)}, one for each source, got {len(source_names)}; "
            "leave them out, or name each"
        )
    names = numbered(list(source_names) or [called(one) for one in sources])
    return joined(parts, names, as_module(target))


def plan_each(
    sources: Sequence[NetworkLike],
    target: NetworkLike,
    *,
    method: str = "dpiat",
    options: Options | None = None,
    example: object = None,
    more_follow: bool = False,
) -> list[TransferPlan]:
    """Plan what each of several sources supplies of a target.

    Parameters
    ----------
    sources : sequence of NetworkLike
        At least one.
    target, method, options, example
        As for `plan`.
    more_follow : bool
        Whether other sources are to be chosen for what these leave.

    Returns
    -------
    list of TransferPlan
        One for each source. The first lists every tensor of the target, the others those that they fill, which are
        fresh in all before.

    Raises
    ------
    MethodError, CheckpointError, InputError
        As `plan`.
    """
    form = check_form(method)
    if not sources:
        raise InputError("expected at least one source, got none; name one")
    if example is not None:
        _give(example, sources, target)
    if options is not None and not isinstance(options, Options):
        raise InputError(
            f"expected transfer.Options, got {type(options).__name__}; say transfer.Options(head=False)"
        )
    if form == "paper":
        if len(sources) > 1:
            raise MethodError(
                f"expected one source with the published method, got {len(sources)}; take method 'dpiat', or one"
            )
        return [plan_alignment(match(sources[0], target, method=form), target, options=options)]
    sides = read_sides(sources[0], target)
    are_several = more_follow or len(sources) > 1
    part = part_for(sides.source, sides.target) if are_several else sides.target
    first = _planned(match(sides.source, part), sides.header, sides.module, sides.allowed(options))
    similarity = first.similarity
    if not was_run(sides.source):
        similarity = max(similarity, in_common(sides.source, part).similarity)
    if are_several and not first.coverage:  # nor does it know what to leave out
        first = replace(first, tensors=tuple(PlannedTensor(row.name, row.shape, "fresh") for row in first.tensors))
    parts = [replace(first, similarity=similarity, note=with_cautions(sides.note, first.alignment))]
    for source in sources[1:]:
        parts.append(plan_rest(read_sides(source, target), parts, options))
    return parts


def _give(example: object, sources: Sequence[NetworkLike], target: NetworkLike) -> None:
    from transfer.tracing.given import give_example, given_example

    module = as_module(target)
    if module is None:
        raise InputError(
            f"expected a module as target of an example input, got {type(target).__name__}, which cannot be run; "
            "leave the example out"
        )
    give_example(module, example)
    for other in filter(None, map(as_module, sources)):
        if given_example(other) is None:
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
