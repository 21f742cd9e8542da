"""What a plan for a narrower target reads of its source: channels in order of importance, statistics adapted."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from transfer.channels.coupling import coupled_groups
from transfer.narrowing.compensation import Compensated
from transfer.narrowing.confirmation import confirmed_groups
from transfer.narrowing.importance import importance_orders, narrowed
from transfer.narrowing.reordering import Reordered

if TYPE_CHECKING:
    from torch import nn

    from transfer.options import Options
    from transfer.planning.planned import TransferPlan
    from transfer.weights.reading import Reader

__all__ = ["prepared"]


def prepared(
    read: Reader, planned: TransferPlan, options: Options, module: nn.Module | None
) -> tuple[Reader, Collection[str]]:
    """Reorder and compensate what is read of a source, as the options say.

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
    compensated : collection of str
        Source tensors, running statistics, that differ from what they were.
    """
    is_reordered = options.channels == "importance"
    if planned.method == "paper" or not (is_reordered or options.compensate):
        return read, ()
    groups = tuple(narrowed(coupled_groups(planned.alignment.source), planned))
    if not groups:
        return read, ()
    if is_reordered:
        confirmed = groups if module is None else confirmed_groups(module, groups)
        read = Reordered(read, importance_orders(confirmed or (), read))
    if not options.compensate:
        return read, ()
    compensated = Compensated(read, planned, coupled_groups(planned.alignment.source))
    return compensated, compensated.names
