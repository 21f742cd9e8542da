"""One plan made of those for several sources: every tensor of the target once, and who supplies it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from transfer.planning.cautions import SEPARATOR
from transfer.planning.planned import Supply, TransferPlan, coverage_of
from transfer.planning.ties import without_ties

if TYPE_CHECKING:
    from torch import nn

__all__ = ["called", "joined", "numbered"]


def called(network: object) -> str:
    """Name a network after its file or its class, where nobody says what it is called."""
    path = network if isinstance(network, str | os.PathLike) else getattr(network, "path", None)
    return Path(path).name if isinstance(path, str | os.PathLike) else type(network).__name__


def numbered(names: Sequence[str]) -> list[str]:
    """Tell sources apart that have one name."""
    found: list[str] = []
    for name in names:
        free = (f"{name} ({i})" for i in count(2) if f"{name} ({i})" not in (*found, *names))
        found.append(next(free) if name in found else name)
    return found


def joined(parts: Sequence[TransferPlan], names: Sequence[str], module: nn.Module | None) -> TransferPlan:
    """Join the plans for several sources, as `plans.plan_each` makes them.

    Parameters
    ----------
    parts : sequence of TransferPlan
        The first one lists every tensor of the target.
    names : sequence of str
        Of the sources, in the same order, all different.
    module : nn.Module or None
        The target, where there is one.

    Returns
    -------
    TransferPlan
    """
    rows = {row.name: row for row in parts[0].tensors}
    for part, name in zip(parts, names, strict=True):
        rows |= {row.name: replace(row, supplier=name) for row in part.tensors if row.status != "fresh"}
    tensors = tuple(rows.values())
    if module is not None:
        tensors = without_ties(tensors, module.state_dict(keep_vars=True))
    coverage = {name: coverage_of([row for row in tensors if row.supplier == name], tensors) for name in names}
    supplies = tuple(Supply(name, part.similarity, coverage[name]) for part, name in zip(parts, names, strict=True))
    further = tuple(part.alignment for part in parts[1:])
    return replace(parts[0], tensors=tensors, supplies=supplies, note=_noted(parts, names), further=further)


def _noted(parts: Sequence[TransferPlan], names: Sequence[str]) -> str:
    """Say everything once, and of which sources it holds."""
    holds: dict[str, list[str]] = {}
    for part, name in zip(parts, names, strict=True):
        for said in filter(None, part.note.split(SEPARATOR)):
            holds.setdefault(said, []).append(name)
    of: dict[str, list[str]] = {}
    for said, who in holds.items():
        of.setdefault(", ".join(who), []).append(said)
    return SEPARATOR.join(f"{who}: {SEPARATOR.join(said)}" for who, said in of.items())
