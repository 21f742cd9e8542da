"""Matrices that are stored with their inputs first: planned like all others, then turned to how they lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from transfer.alignment.matching import Alignment
from transfer.growth.widening import Append
from transfer.planning.planned import PlannedTensor
from transfer.rearrangement import Rearrange
from transfer.regions import Fill, swapped

__all__ = ["as_stored"]


def as_stored(rows: Mapping[str, PlannedTensor], alignment: Alignment) -> dict[str, PlannedTensor]:
    """Turn rows that were planned with outputs first to what source and target keep.

    Parameters
    ----------
    rows : mapping of str to PlannedTensor
        By name.
    alignment : Alignment
        Its tensors say how they are stored.

    Returns
    -------
    dict of str to PlannedTensor
    """
    ours = {tensor.name for tensor in alignment.target.tensors() if tensor.is_input_first}
    theirs = {tensor.name for tensor in alignment.source.tensors() if tensor.is_input_first}
    return {
        name: _turned(row, name in ours, bool(theirs.intersection(row.sources))) if ours or theirs else row
        for name, row in rows.items()
    }


def _turned(row: PlannedTensor, is_target: bool, is_source: bool) -> PlannedTensor:
    if is_target:
        fill = Fill(row.operator, row.regions, row.constants).exchanged()
        row = replace(row, shape=swapped(row.shape), regions=fill.regions, constants=fill.constants)
    if row.source_shape is None:
        return row
    stored = swapped(row.source_shape) if is_source else row.source_shape
    row = replace(row, source_shape=stored)
    if is_target == is_source:
        if is_target and isinstance(row.transform, Append) and len(stored) == 2:
            return replace(row, transform=row.transform.turned())
        return row
    operator = "transpose" if row.operator == "copy" else row.operator
    if row.transform is not None or len(stored) != 2:
        return replace(
            row, status="fresh", source=None, source_shape=None, operator="", regions=(), constants=(),
            transform=None, reason="the matrix is stored the other way round and needs another change too",
        )  # fmt: skip
    return replace(row, operator=operator, transform=Rearrange(stored, (1, 0), swapped(stored)))
