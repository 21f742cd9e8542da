"""Carry out a plan: the only module that writes into a network.

Tensors are read one by one, checked, cast and copied into the target's own storage; dtype, device and
ties of the target stay as they are. `Tensor.copy_` alone would broadcast, overflow silently and accept
meta tensors, hence the checks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from transfer.errors import InputError, TransferError
from transfer.planning.operators import Constant
from transfer.planning.options import Options
from transfer.planning.plans import PlannedTensor, TransferPlan, count_statuses, plan
from transfer.weights.checkpoint import Checkpoint, open_checkpoint

if TYPE_CHECKING:
    import os

    from transfer.structure.records import Architecture

__all__ = ["TransferReport", "apply_plan", "transfer"]

Reader = Callable[[str], torch.Tensor]


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
        Time of planning, reading and writing.
    output : str or None
        File that the target was saved to.
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

    def counts(self) -> dict[str, int]:
        """Count tensors by status."""
        return count_statuses(self.tensors)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**values, "counts": self.counts(), "tensors": [tensor.to_json() for tensor in self.tensors]}


def transfer(
    source: nn.Module | Checkpoint | Mapping[str, torch.Tensor] | str | os.PathLike[str],
    target: nn.Module,
    *,
    method: str = "dpiat",
    options: Options | None = None,
    source_architecture: Architecture | None = None,
    allow_nonfinite: bool = False,
    source_name: str = "",
    target_name: str = "",
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
    source_architecture : Architecture, optional
        Structure of the source where the weights alone do not tell it; its tensor names must be in `source`.
    allow_nonfinite : bool
        Copy NaN and infinity instead of refusing them.
    source_name, target_name : str
        For the report; by default the class or file name.

    Returns
    -------
    TransferReport

    Raises
    ------
    InputError
        If the target is no module or has meta tensors, or an input cannot be read.
    TransferError
        If a source tensor holds NaN or infinity, or a value that the target's dtype cannot hold.
    """
    started = time.perf_counter()
    if not isinstance(target, nn.Module):
        raise InputError(f"expected a torch.nn.Module as target, got {type(target).__name__}")
    network = source if isinstance(source, nn.Module | Checkpoint | Mapping) else open_checkpoint(source)
    planned = plan(source_architecture or network, target, method=method, options=options)
    with _reader(network) as read:
        report = apply_plan(planned, read, target, allow_nonfinite=allow_nonfinite)
    return replace(
        report,
        source=source_name or _name(network),
        target=target_name or _name(target),
        seconds=time.perf_counter() - started,
    )


@torch.no_grad()
def apply_plan(
    planned: TransferPlan, read: Reader, target: nn.Module, *, allow_nonfinite: bool = False
) -> TransferReport:
    """Write the planned tensors into the target.

    Parameters
    ----------
    planned : TransferPlan
        Made for this target.
    read : callable
        Returns the source tensor of a name.
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
    state = {k: v for k, v in target.state_dict(keep_vars=True).items() if isinstance(v, torch.Tensor)}
    meta = [name for name, tensor in state.items() if tensor.is_meta]
    if meta:
        raise InputError(
            f"expected a target with real tensors, got {len(meta)} on the meta device (first: {meta[0]!r}); "
            "build it on a device, e.g. model.to_empty(device='cpu') and initialise it"
        )
    rows = _without_ties(planned.tensors, state)
    for is_rehearsal in (True, False):  # nothing is written before everything is known to fit
        for row in rows:
            _carry_out(row, read, state[row.name], allow_nonfinite, is_rehearsal=is_rehearsal)
    own = {id(state[row.name]): state[row.name].numel() for row in rows}
    n_elements = sum(own.values())
    devices = sorted({str(tensor.device) for tensor in state.values()})
    return TransferReport(
        source="",
        target="",
        method=planned.method,
        similarity=planned.similarity,
        coverage=sum(row.n_written for row in rows) / n_elements if n_elements else 0.0,
        tensors=rows,
        device=", ".join(devices),
        seconds=time.perf_counter() - started,
    )


def _without_ties(planned: Sequence[PlannedTensor], state: Mapping[str, torch.Tensor]) -> tuple[PlannedTensor, ...]:
    """Let each tensor that has several names be written once, under the first name that something feeds."""
    writer: dict[int, PlannedTensor] = {}
    for row in planned:
        known = writer.setdefault(id(state[row.name]), row)
        if not (known.regions or known.constants) and (row.regions or row.constants):
            writer[id(state[row.name])] = row
    rows = []
    for row in planned:
        first = writer[id(state[row.name])]
        if first is not row:
            row = replace(
                first, name=row.name, shape=row.shape, regions=(), constants=(), reason=f"tied to {first.name!r}"
            )
        rows.append(row)
    return tuple(rows)


def _carry_out(
    row: PlannedTensor, read: Reader, tensor: torch.Tensor, allow_nonfinite: bool, *, is_rehearsal: bool
) -> None:
    """Check one row of the plan against the weights, or write it."""
    if not (row.regions or row.constants):
        return
    if not is_rehearsal:
        for constant in row.constants:
            _set_constant(tensor.data[constant.box.index], constant)
    values = {name: _value(row, read(name), tensor) for name in row.sources}
    for region in row.regions:
        destination = tensor.data[region.target.index]
        part = values[region.tensor or row.sources[0]][region.source.index]
        cast = _checked(row, part * row.scale if row.scale != 1 else part, destination, allow_nonfinite)
        if not is_rehearsal:
            destination.copy_(cast)


def _value(row: PlannedTensor, value: torch.Tensor, tensor: torch.Tensor) -> torch.Tensor:
    """Bring a source tensor into the shape that the regions refer to."""
    if row.source_shape is not None and len(row.sources) == 1:
        _check_shape(row, value, tensor)
    if row.transform is not None:
        value = row.transform(value)
    rank = tensor.dim()  # a linear layer feeds a convolution of one position, and the reverse
    return value.reshape((*value.shape[:rank], *(1,) * (rank - value.dim())))


def _set_constant(box: torch.Tensor, constant: Constant) -> None:
    if not constant.diagonal:
        box.fill_(constant.value)
        return
    for n in reversed(box.shape[2:]):
        box = box[..., n // 2]
    box.fill_diagonal_(constant.value)


def _check_shape(row: PlannedTensor, value: torch.Tensor, tensor: torch.Tensor) -> None:
    for what, name, expected, found in (
        ("source", row.source, row.source_shape, tuple(value.shape)),
        ("target", row.name, row.shape, tuple(tensor.shape)),
    ):
        if expected != found:
            raise TransferError(
                f"expected {what} tensor {name!r} of shape {expected} as planned, got {found}; "
                "make the plan again from the weights that are to be transferred"
            )


def _checked(row: PlannedTensor, part: torch.Tensor, box: torch.Tensor, allow_nonfinite: bool) -> torch.Tensor:
    """Cast a part of the source to the target's dtype and device, refusing what would be damaged."""
    assert part.shape == box.shape  # copy_ would broadcast
    if part.is_floating_point() and not allow_nonfinite and not _is_finite(part):
        raise TransferError(
            f"expected finite weights, got NaN or infinity in source tensor {row.source!r}; "
            "take another checkpoint, or allow it with allow_nonfinite (--allow-nonfinite)"
        )
    if part.is_complex() and not box.is_complex():
        raise TransferError(f"expected real weights, got complex source tensor {row.source!r} for {row.name!r}")
    cast = part.to(device=box.device, dtype=box.dtype)
    if part.dtype != box.dtype and box.is_floating_point() and _is_finite(part) and not _is_finite(cast):
        raise TransferError(
            f"expected values within the range of {box.dtype}, got larger ones in source tensor {row.source!r}; "
            "use a target with a wider dtype"
        )
    return cast


def _is_finite(tensor: torch.Tensor) -> bool:
    # The sum is finite in nearly every case and ten times cheaper than the exact test.
    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())


@contextmanager
def _reader(source: nn.Module | Checkpoint | Mapping[str, torch.Tensor]) -> Iterator[Reader]:
    if isinstance(source, Checkpoint):
        with source.opened() as read:
            yield read
    else:
        state = source.state_dict() if isinstance(source, nn.Module) else source
        yield state.__getitem__


def _name(network: object) -> str:
    if isinstance(network, Checkpoint):
        return network.path.name
    return type(network).__name__
