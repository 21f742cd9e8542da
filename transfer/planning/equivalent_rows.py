"""Rows of a plan where source and target compute the same with other tensors, see `equivalence.decisions`.

What a layer of the source lacks it computes without, which is a bias of zero and a scale of one: so that is what
the target's layer gets, and not the random values it was made with. Vectors that found another place get rows as
if they had been in it, and all that is made of several source tensors says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from transfer.alignment.matching import LayerPair
from transfer.equivalence.decisions import Equivalents
from transfer.equivalence.neighbours import NORMS
from transfer.growth.identity import everywhere
from transfer.planning.planned import PlannedTensor, fresh
from transfer.structure.layers import is_weighted
from transfer.structure.records import Tensor

__all__ = ["neutral", "with_equivalents"]


def neutral(pair: LayerPair, tensor: Tensor) -> PlannedTensor:
    """Plan a tensor of a target layer that the matched source layer has no counterpart of.

    Parameters
    ----------
    pair : LayerPair
    tensor : Tensor
        Of the target's layer.

    Returns
    -------
    PlannedTensor
        Fresh if nothing can be said of it.
    """
    layer = pair.target
    value = None
    if tensor.role == "bias" and (is_weighted(layer) or layer.kind in NORMS):
        value = 0.0
    elif tensor.role == "weight" and layer.kind in NORMS:
        value = 1.0
    if value is None or not tensor.is_continuous:
        is_statistic = layer.kind == "batchnorm" and pair.source.kind != "batchnorm"
        reason = (
            "the norm of the source keeps no statistics"
            if is_statistic
            else f"the matched source layer has no {tensor.role}"
        )
        return fresh(tensor, reason)
    return PlannedTensor(
        tensor.name,
        tensor.shape,
        "identity",
        operator="neutral",
        constants=everywhere(tensor, value),
        reason=f"the matched source layer has no {tensor.role} and computes as with {value:g}",
    )


def with_equivalents(
    rows: dict[str, PlannedTensor], made: Equivalents, row_of: Callable[[LayerPair, Tensor, Tensor], PlannedTensor]
) -> dict[str, PlannedTensor]:
    """Add the rows of vectors that found another place, and say what is made of several tensors.

    Parameters
    ----------
    rows : dict of str to PlannedTensor
        By name.
    made : Equivalents
    row_of : callable
        Plans a target tensor from a source tensor, given the layers that these belong to.

    Returns
    -------
    dict of str to PlannedTensor
    """
    rows = dict(rows)
    for pair, source, tensor in made.moved:
        if any(rows[t.name].regions for t in pair.target.tensors if t.name in rows):  # else its layer is fresh
            rows[tensor.name] = row_of(pair, source, tensor)
    for name, note in made.notes.items():
        row = rows.get(name)
        if row is None or not row.regions:
            continue
        reason = f"{row.reason}; {note}" if row.reason else note
        folding = made.foldings.get(name)
        operator = "folded" if row.operator == "copy" and folding is not None else row.operator
        rows[name] = replace(row, reason=reason, folding=folding, operator=operator)
    return rows
