"""Transfers from a place that is known to be there: what is done in this process, whoever asked for it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from transfer.weights.checkpoint import save_module
from zoo_index.sources import Place, open_source
from zoo_index.targets import build_target

if TYPE_CHECKING:
    from torch import nn

    from transfer.execution.apply import TransferReport
    from transfer.options import Options

__all__ = ["build_on", "fill", "save"]


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
    place: Place,
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
) -> TransferReport:
    """Copy the parameters of a source that was found into a network, in place.

    Parameters
    ----------
    module : nn.Module
    place : Place
    method, options, min_coverage, verify, allow_nonfinite, target_name, progress
        As `transfer.transfer`.
    ema, state
        Which weights of the file to take (see `open_checkpoint`).

    Raises
    ------
    ZooError
        As `sources.open_source` and `transfer.transfer`.
    """
    from transfer.execution.apply import transfer

    opened = open_source(place, ema=ema, state=state)
    report = transfer(
        opened.checkpoint,
        module,
        method=method,
        options=options,
        source_structure=opened.structure,
        min_coverage=min_coverage,
        verify=verify,
        allow_nonfinite=allow_nonfinite,
        source_name=opened.name,
        target_name=target_name,
        progress=progress,
    )
    if opened.note:
        report = replace(report, note="; ".join(filter(None, (report.note, opened.note))))
    return report


def save(module: nn.Module, report: TransferReport, output: str | os.PathLike[str]) -> TransferReport:
    """Save a network that was filled, and say where in its report.

    Raises
    ------
    OutputError
        If the file cannot be written, or the state dict holds what safetensors cannot.
    """
    save_module(module, output, {"zoo.source": report.source, "zoo.method": report.method})
    return replace(report, output=str(output))
