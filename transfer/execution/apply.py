"""Carry out plans: the only module that writes into a network.

Parts of tensors are read one by one, all of them looked at first and then copied into the target's own storage;
dtype, device and ties of the target stay as they are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from transfer.execution.heads import shrink, shrinkages
from transfer.execution.moves import moves_of, set_constants
from transfer.execution.rehearsal import rehearse
from transfer.execution.reports import TransferReport, with_reason
from transfer.execution.staging import Stage
from transfer.execution.surroundings import ordinary_surroundings
from transfer.execution.writable import writable_state
from transfer.planning.planned import PlannedTensor, TransferPlan, coverage_of
from transfer.planning.ties import without_ties

if TYPE_CHECKING:
    from torch import nn

    from transfer.weights.reading import Reader

__all__ = ["Job", "apply_plan", "write"]


@dataclass(frozen=True)
class Job:
    """What one source is to write.

    Parameters
    ----------
    rows : sequence of PlannedTensor
    read : Reader
        Of the source.
    """

    rows: Sequence[PlannedTensor]
    read: Reader


def apply_plan(
    planned: TransferPlan, read: Reader, target: nn.Module, *, allow_nonfinite: bool = False
) -> TransferReport:
    """Write the planned tensors into the target.

    Parameters
    ----------
    planned : TransferPlan
        Made for this target, from one source.
    read : Reader
        Of the source.
    target : nn.Module
    allow_nonfinite : bool

    Returns
    -------
    TransferReport

    Raises
    ------
    InputError, TransferError
        As `transferring.transfer`.
    """
    started = time.perf_counter()
    rows = without_ties(planned.tensors, writable_state(target))
    (rows,) = write([Job(rows, read)], target, allow_nonfinite=allow_nonfinite)
    return TransferReport(
        source="",
        target="",
        method=planned.method,
        similarity=planned.similarity,
        coverage=coverage_of(rows),
        tensors=rows,
        device=device_of(target),
        note=planned.note,
        seconds=time.perf_counter() - started,
    )


@torch.no_grad()
@ordinary_surroundings()
def write(
    parts: Sequence[Job],
    target: nn.Module,
    *,
    allow_nonfinite: bool = False,
    advance: Callable[[int, int], object] | None = None,
) -> list[tuple[PlannedTensor, ...]]:
    """Write what each of several sources supplies, once all of it is known to fit.

    Parameters
    ----------
    parts : sequence of Job
        No tensor in two of them.
    target : nn.Module
    allow_nonfinite : bool
    advance : callable, optional
        Called with the bytes that are done and that are to do, as they are looked at and then copied.

    Returns
    -------
    list of tuple of PlannedTensor
        The rows of each part, as they were carried out.

    Raises
    ------
    InputError, TransferError
        As `transferring.transfer`; nothing is written then.
    """
    state = writable_state(target)
    told = _counted(parts, state, advance)
    for part in parts:
        rehearse(part.rows, part.read, state, allow_nonfinite=allow_nonfinite, told=told)
    factors = [shrinkages(part.rows, part.read, state) for part in parts]
    for name, factor in ((name, factor) for found in factors for name, factor in found.items()):
        shrink(state[name], factor)  # before anything is copied that may share memory with it
    for row in (row for part in parts for row in part.rows):
        set_constants(row, state[row.name])
    stage = Stage()
    for part in parts:
        for row in part.rows:
            for move in moves_of(row, part.read, state[row.name]):
                stage.copy(move.part, move.place)
            told(row)
    stage.finish()
    return [
        tuple(_shrunk(row, found[row.name]) if row.name in found else row for row in part.rows)
        for part, found in zip(parts, factors, strict=True)
    ]


def _counted(
    parts: Sequence[Job], state: Mapping[str, torch.Tensor], advance: Callable[[int, int], object] | None
) -> Callable[[PlannedTensor], None]:
    """Return what to call with each row, once when it was looked at and once when it was copied."""
    sizes = {row.name: row.n_written * state[row.name].element_size() for part in parts for row in part.rows}
    planned, done = sum(sizes.values()), 0

    def told(row: PlannedTensor) -> None:
        nonlocal done
        done += sizes[row.name]
        if advance is not None:
            advance(done // 2, planned)

    return told


def device_of(target: nn.Module) -> str:
    """Where a network lives; several devices with commas between them."""
    return ", ".join(sorted({str(tensor.device) for tensor in writable_state(target).values()}))


def _shrunk(row: PlannedTensor, factor: float) -> PlannedTensor:
    """Say how much smaller random values were made."""
    return with_reason(row, f"times {factor:.2g}, as small as the source's")
