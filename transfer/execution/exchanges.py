"""Which of several assignments that score the same? The one with which the target computes what the source does.

Shapes and order may leave a choice: query and key of an attention whose code multiplies them the other way round,
two branches of like layers that one code runs first and the other last, the order of rows in a layer that makes
queries, keys and values. If the outputs differ, such rows are laid out as both networks are seen to use them. If
every tensor was copied and the outputs still differ, like layers of the source are exchanged, two at a time and in
all blocks alike, and both networks are run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import combinations, islice

from torch import nn

from transfer.execution.proof import Function
from transfer.planning.layouts import laid_out
from transfer.planning.planned import PlannedTensor, TransferPlan
from transfer.structure.records import Block, Layer
from transfer.tracing.heads import trace_attentions

__all__ = ["exchanged"]

_MOST_TRIES = 16
_MOST_SECONDS = 3.0

_GAIN = 0.02
"""By so much the outputs have to correlate better for an exchange to be kept while others are tried."""

Names = Mapping[str, str]
"""Which tensor of the source is read in place of which."""


def exchanged(
    planned: TransferPlan,
    found: Function,
    write: Callable[[TransferPlan], object],
    prove: Callable[[], Function],
    networks: tuple[nn.Module | None, nn.Module],
) -> tuple[TransferPlan, Function] | None:
    """Look for an assignment of the same score that computes the same; a few tries, for a few seconds.

    Parameters
    ----------
    planned : TransferPlan
        Carried out.
    found : Function
        What the target computes with it.
    write : callable
        Carries out a plan for a part of the target's tensors.
    prove : callable
        Compares the networks as they are.
    networks : (nn.Module or None, nn.Module)
        The source, where it is at hand, and the target.

    Returns
    -------
    TransferPlan, Function
        What was carried out instead; None, and the target holds what it held, if nothing made them more alike.
    """
    if planned.method != "dpiat" or found.verdict not in ("near", "other"):
        return None
    source, target = networks
    laid = None if source is None else _laid_out(planned, found, write, prove, source, target)
    planned, found = laid or (planned, found)
    are_twins = all(row.status == "copied" for row in planned.tensors)
    other = _with_exchanges(planned, found, write, prove) if are_twins and found.verdict != "equal" else None
    return other or laid


def _laid_out(
    planned: TransferPlan,
    found: Function,
    write: Callable[[TransferPlan], object],
    prove: Callable[[], Function],
    source: nn.Module,
    target: nn.Module,
) -> tuple[TransferPlan, Function] | None:
    """Put queries, keys and values where the target has them, if that brings it nearer to the source."""
    tried = laid_out(planned, trace_attentions(target), trace_attentions(source))
    if tried is planned:
        return None
    write(_difference(planned, tried))
    result = prove()
    gain = (result.correlation or 0.0) - (found.correlation or 0.0)
    if result.verdict == "equal" or (result.verdict in ("near", "other") and gain > _GAIN):
        return tried, result
    write(_difference(tried, planned))
    return None


def _with_exchanges(
    planned: TransferPlan, found: Function, write: Callable[[TransferPlan], object], prove: Callable[[], Function]
) -> tuple[TransferPlan, Function] | None:
    """Exchange like layers until both compute the same; None, and all is as it was, if they never do."""
    started = time.monotonic()
    best, closest = planned, found.correlation or 0.0
    told: list[str] = []
    for names, what in islice(_exchanges(planned), _MOST_TRIES):
        tried = _with_names(best, names)
        write(_difference(best, tried))
        result = prove()
        correlation = result.correlation or 0.0
        if result.verdict == "equal":
            note = f"with like layers of the source exchanged both compute the same: {', '.join([*told, what])}"
            return replace(tried, note="; ".join(filter(None, (planned.note, note)))), result
        if correlation > closest + _GAIN:
            best, closest = tried, correlation
            told.append(what)
        else:
            write(_difference(tried, best))
        if time.monotonic() - started > _MOST_SECONDS:
            break
    write(_difference(best, planned))
    return None


def _exchanges(planned: TransferPlan) -> Iterator[tuple[Names, str]]:
    """Yield pairs of like layers, in the first block that has them and in all blocks of the same kinds of layers.

    Neighbours come first.
    """
    alike: dict[tuple[str, ...], list[Block]] = {}
    for item in planned.alignment.source.items:
        if isinstance(item, Block):
            alike.setdefault(tuple(layer.kind for layer in item.layers), []).append(item)
    pairs = [
        (j - i, blocks, i, j)
        for blocks in alike.values()
        for i, j in combinations(range(len(blocks[0].layers)), 2)
        if blocks[0].layers[i].kind.startswith(("conv", "linear", "batchnorm", "norm"))
    ]
    for _, blocks, i, j in sorted(pairs, key=lambda pair: pair[0]):
        names: dict[str, str] = {}
        what = ""
        for block in blocks:
            a, b = block.layers[i], block.layers[j]
            if _signature(a) == _signature(b):
                what = what or f"{a.path!r} and {b.path!r}"
                for x, y in zip(a.tensors, b.tensors, strict=True):
                    names |= {x.name: y.name, y.name: x.name}
        if names:
            yield names, what


def _signature(layer: Layer) -> tuple[object, ...]:
    return layer.kind, *((tensor.role, tensor.shape) for tensor in layer.tensors)


def _with_names(planned: TransferPlan, names: Names) -> TransferPlan:
    def read(row: PlannedTensor) -> PlannedTensor:
        regions = tuple(
            replace(region, tensor=names.get(region.tensor, region.tensor)) if region.tensor else region
            for region in row.regions
        )
        return replace(row, source=names.get(row.source or "", row.source), regions=regions)

    return replace(planned, tensors=tuple(map(read, planned.tensors)))


def _difference(before: TransferPlan, after: TransferPlan) -> TransferPlan:
    """Return the part of a plan that another one does not do anyway."""
    rows = (new for old, new in zip(before.tensors, after.tensors, strict=True) if old != new)
    return replace(after, tensors=tuple(rows))
