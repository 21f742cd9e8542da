"""Carry out a plan: the only module that writes into a network.

Parts of tensors are read one by one, all of them looked at first and then copied into the target's own storage;
dtype, device and ties of the target stay as they are.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from transfer.errors import InputError
from transfer.execution.coverage import check_coverage, check_least
from transfer.execution.embodiment import embodied
from transfer.execution.exchanges import exchanged
from transfer.execution.heads import shrink, shrinkages
from transfer.execution.moves import moves_of, set_constants
from transfer.execution.proof import Function, prove
from transfer.execution.rehearsal import rehearse
from transfer.execution.staging import Stage
from transfer.execution.surroundings import ordinary_surroundings
from transfer.execution.trials import RefusalError
from transfer.narrowing.preparation import prepared
from transfer.options import Options
from transfer.planning.planned import PlannedTensor, TransferPlan, count_statuses, coverage_of
from transfer.planning.plans import plan
from transfer.planning.ties import without_ties
from transfer.weights.checkpoint import Checkpoint, open_checkpoint
from transfer.weights.reading import Reader, StateReader

if TYPE_CHECKING:
    from transfer.structure.records import Architecture

__all__ = ["TransferReport", "apply_plan", "transfer"]


@dataclass(frozen=True)
class TransferReport:
    """What happened to every tensor of the target.

    Parameters
    ----------
    source, target : str
        What they are called.
    method : {'paper', 'dpiat'}
    similarity, coverage : float
        In [0, 1]; coverage is the fraction of the target's elements that were written.
    tensors : tuple of PlannedTensor
        Every tensor of the target once, in its order.
    device : str
        Where the target lives.
    seconds : float
        Time of planning, reading and writing, not of running the networks in the end.
    output : str or None
        File that the target was saved to.
    note : str
        What the reader should know; mostly empty.
    function : Function or None
        Whether the target computes what the source does; None where that was not asked.
    """

    source: str
    target: str
    method: str
    similarity: float
    coverage: float
    tensors: tuple[PlannedTensor, ...]
    device: str
    seconds: float
    output: str | None = None
    note: str = ""
    function: Function | None = None

    def counts(self) -> dict[str, int]:
        """Count tensors by status."""
        return count_statuses(self.tensors)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            **values,
            "counts": self.counts(),
            "function": asdict(self.function) if self.function is not None else None,
            "tensors": [tensor.to_json() for tensor in self.tensors],
        }


@ordinary_surroundings()
def transfer(
    source: nn.Module | Checkpoint | Mapping[str, torch.Tensor] | str | os.PathLike[str],
    target: nn.Module,
    *,
    method: str = "dpiat",
    options: Options | None = None,
    source_structure: nn.Module | Architecture | None = None,
    example: object = None,
    min_coverage: float = 0.0,
    verify: bool = True,
    allow_nonfinite: bool = False,
    ema: bool = False,
    source_name: str = "",
    target_name: str = "",
    progress: Callable[[str], object] | None = None,
) -> TransferReport:
    """Copy the parameters of a source into a target, in place.

    Parameters
    ----------
    source : nn.Module, Checkpoint, state dict or path
    target : nn.Module
        With real tensors, on any device.
    method : {'dpiat', 'paper'}
    options : Options, optional
        For ``dpiat``.
    source_structure : nn.Module or Architecture, optional
        Structure of the source where the weights alone do not tell it; the meta device will do. Its tensor names
        must be in `source`.
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
        For the report; by default the class or file name.
    progress : callable, optional
        Called with each step as it begins: ``plan``, ``copy``, ``verify``.

    Returns
    -------
    TransferReport

    Raises
    ------
    InputError
        If the target is no module or has meta tensors, an input cannot be read, or the target refuses the example.
    CoverageError
        If less than `min_coverage` of the target would be filled.
    TransferError
        If a source tensor holds NaN or infinity, or a value that the target's dtype cannot hold.
    """
    started = time.perf_counter()
    if not isinstance(target, nn.Module):
        raise InputError(f"expected a torch.nn.Module as target, got {type(target).__name__}")
    if isinstance(source, nn.Module) and any(
        getattr(tensor, "is_meta", False) for tensor in source.state_dict().values()
    ):
        raise InputError("expected a source with weights, got a module on the meta device; load its weights first")
    if not isinstance(source, nn.Module | Checkpoint | Mapping | str | os.PathLike):
        raise InputError(f"expected a module, a state dict, a checkpoint or a path, got {type(source).__name__}")
    if isinstance(source, Mapping):
        _check_tensors(source)
    network = source if isinstance(source, nn.Module | Checkpoint | Mapping) else open_checkpoint(source, ema=ema)
    if ema and network is source:
        raise InputError(
            f"expected the path of a checkpoint with ema=True, got {type(source).__name__}; "
            "open the averaged weights themselves: open_checkpoint(path, ema=True)"
        )
    check_least(min_coverage)
    structure = source_structure if source_structure is not None else network
    begin = progress or (lambda step: None)
    begin("plan")
    planned = plan(structure, target, method=method, options=options, example=example)
    _writable_state(target)  # what is wrong with it comes first
    check_coverage(planned.coverage, min_coverage, source_name or _name(network))
    with _reader(network) as found:
        begin("copy")
        module = structure if isinstance(structure, nn.Module) else None
        read, notes = prepared(found, planned, options or Options(), module)
        report = apply_plan(planned, read, target, allow_nonfinite=allow_nonfinite)
        seconds = time.perf_counter() - started
        function = None
        if verify:
            begin("verify")
            prove_again = _prover(network, structure, target, found)
            function = prove_again()
            write = partial(apply_plan, read=read, target=target, allow_nonfinite=allow_nonfinite)
            known = module if module is not None else network if isinstance(network, nn.Module) else None
            is_apart = not _share_memory(network, target)  # else an exchange would write into the source
            if is_apart and (other := exchanged(planned, function, write, prove_again, (known, target))):
                planned, function = other
                report = replace(report, tensors=planned.tensors, note=planned.note)
    return replace(
        report,
        function=function,
        tensors=tuple(_noted(row, notes) for row in report.tensors),
        source=source_name or _name(network),
        target=target_name or _name(target),
        seconds=seconds,
    )


def _share_memory(network: nn.Module | Checkpoint | Mapping[str, torch.Tensor], target: nn.Module) -> bool:
    """Whether a tensor of the source lies in the memory of one of the target."""
    if isinstance(network, Checkpoint):
        return False
    states = network.state_dict() if isinstance(network, nn.Module) else network, target.state_dict()
    own, other = (
        {(t.device, t.untyped_storage().data_ptr()) for t in state.values() if isinstance(t, torch.Tensor)}
        for state in states
    )
    return not own.isdisjoint(other)


def _prover(
    network: nn.Module | Checkpoint | Mapping[str, torch.Tensor],
    structure: nn.Module | Architecture | Checkpoint | Mapping[str, torch.Tensor],
    target: nn.Module,
    read: Reader,
) -> Callable[[], Function]:
    """Return what compares the target, as it is when called, with the source."""
    try:
        source, what = embodied(network, structure, target, read)
    except RefusalError as refusal:
        unknown = Function("unknown", reason=str(refusal))
        return lambda: unknown

    def compared() -> Function:
        found = prove(source, target)
        return replace(found, reason="; ".join(filter(None, (found.reason, what))))

    return compared


def _shrunk(row: PlannedTensor, factor: float) -> PlannedTensor:
    """Say in the report how much smaller random values were made."""
    return _with_reason(row, f"times {factor:.2g}, as small as the source's")


def _noted(row: PlannedTensor, notes: Mapping[str, str]) -> PlannedTensor:
    """Say in the report where values are not those of the source."""
    found = dict.fromkeys(notes[name] for name in row.sources if name in notes)
    return _with_reason(row, "; ".join(found)) if found else row


def _with_reason(row: PlannedTensor, reason: str) -> PlannedTensor:
    return replace(row, reason=f"{row.reason}; {reason}" if row.reason else reason)


@torch.no_grad()
@ordinary_surroundings()
def apply_plan(
    planned: TransferPlan, read: Reader, target: nn.Module, *, allow_nonfinite: bool = False
) -> TransferReport:
    """Write the planned tensors into the target.

    Parameters
    ----------
    planned : TransferPlan
        Made for this target.
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
        As `transfer`.
    """
    started = time.perf_counter()
    state = _writable_state(target)
    rows = without_ties(planned.tensors, state)
    rehearse(rows, read, state, allow_nonfinite=allow_nonfinite)  # nothing is written before all is known to fit
    factors = shrinkages(rows, read, state)
    for name, factor in factors.items():  # before anything is copied that may share memory with it
        shrink(state[name], factor)
    for row in rows:
        set_constants(row, state[row.name])
    stage = Stage()
    for row in rows:
        for move in moves_of(row, read, state[row.name]):
            stage.copy(move.part, move.place)
    stage.finish()
    rows = tuple(_shrunk(row, factors[row.name]) if row.name in factors else row for row in rows)
    devices = sorted({str(tensor.device) for tensor in state.values()})
    return TransferReport(
        source="",
        target="",
        method=planned.method,
        similarity=planned.similarity,
        coverage=coverage_of(rows),
        tensors=rows,
        device=", ".join(devices),
        note=planned.note,
        seconds=time.perf_counter() - started,
    )


def _writable_state(target: nn.Module) -> dict[str, torch.Tensor]:
    """Return the tensors of a target, all of which can be written."""
    state = {k: v for k, v in target.state_dict(keep_vars=True).items() if isinstance(v, torch.Tensor)}
    meta = [name for name, tensor in state.items() if tensor.is_meta]
    if meta:
        raise InputError(
            f"expected a target with real tensors, got {len(meta)} on the meta device (first: {meta[0]!r}); "
            "build it on a device, e.g. model.to_empty(device='cpu') and initialise it"
        )
    odd = next((name for name, tensor in state.items() if not _is_writable(tensor)), None)
    if odd is not None:
        raise InputError(
            f"expected dense tensors that may be written in the target, {odd!r} is sparse or was made in inference "
            "mode; build the target outside of torch.inference_mode(), with dense parameters"
        )
    shared = [name for name, tensor in state.items() if _is_expanded(tensor)]
    if shared:
        raise InputError(
            f"expected a target whose elements are stored one by one, {shared[0]!r} is expanded; "
            "make it contiguous first: parameter.data = parameter.data.contiguous()"
        )
    return state


def _check_tensors(source: Mapping[str, object]) -> None:
    for name, value in source.items():
        if not isinstance(value, torch.Tensor):
            raise InputError(
                f"expected torch tensors as weights, {name!r} is of type {type(value).__name__}; "
                "convert it: torch.from_numpy(value)"
            )


def _is_writable(tensor: torch.Tensor) -> bool:
    return tensor.layout is torch.strided and (not tensor.is_inference() or torch.is_inference_mode_enabled())


def _is_expanded(tensor: torch.Tensor) -> bool:
    """Whether several elements share one place in memory."""
    is_plain = tensor.layout is torch.strided
    return is_plain and any(n > 1 and not step for n, step in zip(tensor.shape, tensor.stride(), strict=True))


@contextmanager
def _reader(source: nn.Module | Checkpoint | Mapping[str, torch.Tensor]) -> Iterator[Reader]:
    if isinstance(source, Checkpoint):
        with source.opened() as read:
            yield read
    else:
        state = source.state_dict() if isinstance(source, nn.Module) else source
        yield StateReader(state.__getitem__)


def _name(network: object) -> str:
    if isinstance(network, Checkpoint):
        return network.path.name
    return type(network).__name__
