"""What a plan for a narrower target reads of its source: channels in order of importance, statistics adapted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from transfer.channels.coupling import coupled_groups
from transfer.channels.flattening import LEADING_BY_PLACE, MovePlaces
from transfer.channels.groups import Group
from transfer.narrowing.compensation import Compensated
from transfer.narrowing.confirmation import confirmed_groups
from transfer.narrowing.gates import Ungated
from transfer.narrowing.importance import importance_orders, narrowed
from transfer.narrowing.reordering import Reordered
from transfer.structure.records import Architecture

if TYPE_CHECKING:
    from torch import nn

    from transfer.options import Options
    from transfer.planning.planned import TransferPlan
    from transfer.weights.reading import Reader

__all__ = ["prepared"]


def prepared(
    read: Reader, planned: TransferPlan, options: Options, module: nn.Module | None
) -> tuple[Reader, dict[str, str]]:
    """Change what is read of a source as the options say: channels reordered, statistics and gates made up for.

    Parameters
    ----------
    read : Reader
    planned : TransferPlan
    options : Options
    module : nn.Module or None
        The source, where there is one: it is asked whether channels are coupled as they seem.

    Returns
    -------
    read : Reader
    notes : dict of str to str
        What was done to source tensors that differ from what they were, by name.
    """
    notes: dict[str, str] = {}
    if planned.method == "paper":
        return read, notes
    if options.gates:
        ungated = Ungated(read, planned, module)
        if ungated.names:
            read = ungated
            notes |= dict.fromkeys(ungated.names, "with the average of the gate that was left out")
    is_reordered = options.channels == "importance"
    if not (is_reordered or options.compensate):
        return read, notes
    source = planned.alignment.source
    every = _as_stored(coupled_groups(source, _flattened(planned), is_asked=module is not None), source)
    groups = tuple(narrowed(every, planned))
    used, read_too = {pair.source_item for pair in planned.alignment.pairs}, planned.read_layers()
    items = enumerate(planned.alignment.source.items)
    if not groups and all(i in used or item.layers[0].path in read_too for i, item in items):
        return read, notes
    if is_reordered and groups:
        confirmed = groups if module is None else confirmed_groups(module, groups)
        read = Reordered(read, importance_orders(confirmed or (), read))
    if not options.compensate:
        return read, notes
    compensated = Compensated(read, planned, every)
    return compensated, notes | dict.fromkeys(
        compensated.names, "without what the channels contributed that were left out"
    )


def _as_stored(groups: Iterable[Group], source: Architecture) -> list[Group]:
    """Let groups say where channels lie in what is read: matrices with their inputs first are read as they are."""
    turned = {tensor.name for tensor in source.tensors() if tensor.is_input_first}
    return [
        replace(group, ports=tuple(replace(p, dim=1 - p.dim) if p.tensor in turned else p for p in group.ports))
        for group in groups
    ]


def _flattened(planned: TransferPlan) -> dict[str, tuple[int, ...]]:
    """Say of the source's weights that read a flattened map where the channels of a place start."""
    found: dict[str, tuple[int, ...]] = {}
    for row in planned.tensors:
        if row.operator != LEADING_BY_PLACE or row.source is None or row.source_shape is None:
            continue
        if len(row.source_shape) < 2:
            continue  # the bias beside it
        if isinstance(row.transform, MovePlaces):
            n = row.transform.n_channels if row.transform.by_place else row.source_shape[1]
            found[row.source] = tuple(range(0, row.source_shape[1], n))
        else:
            found[row.source] = tuple(sorted({region.source_start[1] for region in row.regions}))
    return found
