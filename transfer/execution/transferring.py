"""A transfer from its beginning to its end: plan, prepare what is read, write, prove."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from torch import nn

from transfer.errors import InputError
from transfer.execution.apply import Job, apply_plan, device_of, write
from transfer.execution.coverage import check_coverage, check_least
from transfer.execution.embodiment import embodied
from transfer.execution.exchanges import exchanged
from transfer.execution.given import Given, SourceLike, given_sources
from transfer.execution.proof import Function, prove
from transfer.execution.reports import TransferReport, noted
from transfer.execution.surroundings import ordinary_surroundings
from transfer.execution.trials import RefusalError
from transfer.execution.writable import writable_state
from transfer.narrowing.preparation import prepared
from transfer.options import Options
from transfer.planning.planned import PlannedTensor, TransferPlan, coverage_of
from transfer.planning.plans import plan_each
from transfer.planning.several import called, joined
from transfer.weights.reading import Reader

if TYPE_CHECKING:
    from transfer.structure.records import Architecture

__all__ = ["transfer"]

_SEVERAL = "several sources supply it, and none of them computes all of it"


@ordinary_surroundings()
def transfer(
    source: SourceLike | Sequence[SourceLike],
    target: nn.Module,
    *,
    method: str = "dpiat",
    options: Options | None = None,
    source_structure: nn.Module | Architecture | Sequence[nn.Module | Architecture | None] | None = None,
    example: object = None,
    min_coverage: float = 0.0,
    verify: bool = True,
    allow_nonfinite: bool = False,
    ema: bool = False,
    source_name: str | Sequence[str] = "",
    target_name: str = "",
    progress: Callable[[str], object] | None = None,
    advance: Callable[[int, int], object] | None = None,
) -> TransferReport:
    """Copy the parameters of a source into a target, in place.

    Parameters
    ----------
    source : nn.Module, Checkpoint, state dict or path
        A list or tuple of these: what the first leaves fresh is filled by the next, and so on.
    target : nn.Module
        With real tensors, on any device.
    method : {'dpiat', 'paper'}
    options : Options, optional
        For ``dpiat``.
    source_structure : nn.Module or Architecture, optional
        Structure of the source where the weights alone do not tell it; the meta device will do. Its tensor names
        must be in `source`. A list of one for each where there are several sources.
    example : Tensor, tuple, mapping or str, optional
        What the target takes (see `plan`).
    min_coverage : float
        Refuse, before anything is written, to fill a smaller part of the target.
    verify : bool
        Run both networks in the end, where that can be done in seconds, and compare their outputs.
    allow_nonfinite : bool
        Copy NaN and infinity instead of refusing them.
    ema : bool
        Take the averaged weights of the file that `source` leads to (see `open_checkpoint`).
    source_name, target_name : str
        For the report; by default the class or file name. A list where there are several sources.
    progress : callable, optional
        Called with each step as it begins: ``plan``, ``copy``, ``verify``.
    advance : callable, optional
        Called in the step ``copy`` with the bytes that are done and that are to do.

    Returns
    -------
    TransferReport

    Raises
    ------
    InputError
        If the target is no module or has meta tensors, an input cannot be read, or the target refuses the example.
    MethodError
        If `method` is unknown, or ``paper`` with several sources.
    CoverageError
        If less than `min_coverage` of the target would be filled.
    TransferError
        If a source tensor holds NaN or infinity, or a value that the target's dtype cannot hold.
    """
    started = time.perf_counter()
    if not isinstance(target, nn.Module):
        raise InputError(f"expected a torch.nn.Module as target, got {type(target).__name__}")
    sources = given_sources(source, source_structure, source_name, ema=ema)
    check_least(min_coverage)
    begin = progress or (lambda step: None)
    begin("plan")
    structures = [one.structure for one in sources]
    parts = plan_each(structures, target, method=method, options=options, example=example)
    names = [one.name for one in sources]
    planned = parts[0] if len(parts) == 1 else joined(parts, names, target)
    writable_state(target)  # what is wrong with it comes first
    check_coverage(planned.coverage, min_coverage, " + ".join(names))
    with ExitStack() as stack:
        reads = [stack.enter_context(one.opened()) for one in sources]
        begin("copy")
        supplied = _supplied(planned, names)
        adapted = [
            prepared(read, part, options or Options(), one.module)
            for one, part, read in zip(sources, parts, reads, strict=True)
        ]
        jobs = [Job(rows, read) for rows, (read, _) in zip(supplied, adapted, strict=True)]
        written = write(jobs, target, allow_nonfinite=allow_nonfinite, advance=advance)
        seconds = time.perf_counter() - started
        function, note = None, planned.note
        if verify:
            begin("verify")
            suppliers = [i for i, rows in enumerate(supplied) if any(row.regions for row in rows)] or [0]
            if len(suppliers) > 1:
                function = Function("unknown", reason=_SEVERAL)
            elif suppliers != [0]:
                function = _prover(sources[suppliers[0]], reads[suppliers[0]], target)()
            else:
                function, other = _verified(sources[0], reads[0], jobs[0].read, parts[0], target, allow_nonfinite)
                if other is not None:
                    written[0], note = other.tensors, other.note
    notes = [notes for _, notes in adapted]
    done = {row.name: noted(row, told) for rows, told in zip(written, notes, strict=True) for row in rows}
    tensors = tuple(done[row.name] for row in planned.tensors)
    return TransferReport(
        source=" + ".join(names),
        target=target_name or called(target),
        method=planned.method,
        similarity=planned.similarity,
        coverage=coverage_of(tensors),
        tensors=tensors,
        device=device_of(target),
        seconds=seconds,
        note=note,
        function=function,
        supplies=planned.supplies,
        alignments=planned.alignments,
    )


def _supplied(planned: TransferPlan, names: Sequence[str]) -> list[tuple[PlannedTensor, ...]]:
    """Rows by source; what is fresh is the business of the first."""
    return [tuple(row for row in planned.tensors if (row.supplier or names[0]) == name) for name in names]


def _verified(
    source: Given, opened: Reader, read: Reader, planned: TransferPlan, target: nn.Module, allow_nonfinite: bool
) -> tuple[Function, TransferPlan | None]:
    """Compare the target with the source; return what was carried out instead, if that made it compute the same."""
    prove_again = _prover(source, opened, target)
    function = prove_again()
    write_again = partial(apply_plan, read=read, target=target, allow_nonfinite=allow_nonfinite)
    network = source.network if isinstance(source.network, nn.Module) else None
    other = None
    if not source.shares_memory(target):  # else an exchange would write into the source
        other = exchanged(planned, function, write_again, prove_again, (source.module or network, target))
    return (function, None) if other is None else (other[1], other[0])


def _prover(source: Given, read: Reader, target: nn.Module) -> Callable[[], Function]:
    """Return what compares the target, as it is when called, with the source."""
    try:
        network, what = embodied(source.network, source.structure, target, read)
    except RefusalError as refusal:
        unknown = Function("unknown", reason=str(refusal))
        return lambda: unknown

    def compared() -> Function:
        found = prove(network, target)
        return replace(found, reason="; ".join(filter(None, (found.reason, what))))

    return compared
