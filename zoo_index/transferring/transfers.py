"""Transfers from a place that is known to be there: what is done in this process, whoever asked for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from transfer.weights.checkpoint import save_module
from zoo_index.recommending.targets import build_target
from zoo_index.transferring.sources import Place, open_source

if TYPE_CHECKING:
    from torch import nn

    from transfer.execution.reports import TransferReport
    from transfer.options import Options
    from transfer.structure.records import Architecture

__all__ = ["build_on", "fill", "left_fresh", "save"]


def build_on(device: str, spec: str, example: object = None) -> nn.Module:
    """Build the network that a specification names on a device.

    Parameters
    ----------
    device : str
        ``cpu``, ``cuda``, ``cuda:N`` or ``auto``.
    spec : str
        Code or a timm name.
    example : Tensor, tuple, mapping or str, optional
        What the network takes.

    Raises
    ------
    InputError
        If there is no such device, or no room on it.
    TargetError, UnknownNameError
        As `targets.build_target`.
    """
    from transfer.weights.devices import find_device, move_to

    place = find_device(device)
    return move_to(build_target(spec, example=example), place)


def fill(
    module: nn.Module,
    places: Sequence[Place],
    *,
    method: str,
    options: Options | None,
    min_coverage: float,
    verify: bool,
    allow_nonfinite: bool,
    ema: bool,
    state: str | None,
    target_name: str,
    progress: Callable[[str], Any] | None = None,
    advance: Callable[[int, int], Any] | None = None,
) -> TransferReport:
    """Copy the parameters of sources that were found into a network, in place.

    Parameters
    ----------
    module : nn.Module
    places : sequence of Place
        What the first leaves fresh is filled by the next.
    method, options, min_coverage, verify, allow_nonfinite, target_name, progress, advance
        As `transfer.transfer`.
    ema, state
        Which weights of a file to take (see `open_checkpoint`).

    Raises
    ------
    ZooError
        As `sources.open_source` and `transfer.transfer`.
    """
    from transfer.execution.transferring import transfer

    opened = [open_source(place, ema=ema, state=state) for place in places]
    is_one = len(opened) == 1
    report = transfer(
        opened[0].checkpoint if is_one else [source.checkpoint for source in opened],
        module,
        method=method,
        options=options,
        source_structure=opened[0].structure if is_one else [source.structure for source in opened],
        min_coverage=min_coverage,
        verify=verify,
        allow_nonfinite=allow_nonfinite,
        source_name=opened[0].name if is_one else [source.name for source in opened],
        target_name=target_name,
        progress=progress,
        advance=advance,
    )
    notes = dict.fromkeys(filter(None, (report.note, *(source.note for source in opened))))
    return replace(report, note="; ".join(notes))


def left_fresh(module: nn.Module, places: Sequence[Place], options: Options | None) -> Architecture:
    """Return the layers of a network that some sources would leave fresh; no weights are read.

    Parameters
    ----------
    module : nn.Module
    places : sequence of Place
    options : Options or None
        As for `fill`.

    Raises
    ------
    ZooError
        As `sources.open_source` and `transfer.plan`.
    """
    from transfer.planning.plans import plan_each
    from transfer.planning.rest import left_of, unfilled
    from transfer.structure.standardization import standardize

    opened = map(open_source, places)
    structures = [source.checkpoint if source.structure is None else source.structure for source in opened]
    parts = plan_each(structures, module, options=options, more_follow=True)
    target = standardize(module)
    return left_of(target, unfilled(parts, target))


def save(module: nn.Module, report: TransferReport, output: str | os.PathLike[str]) -> TransferReport:
    """Save a network that was filled, and say where in its report.

    Raises
    ------
    OutputError
        If the file cannot be written, or the state dict holds what safetensors cannot.
    """
    save_module(module, output, {"zoo.source": report.source, "zoo.method": report.method})
    return replace(report, output=str(output))
