"""The plan for a target with towers: one plan for each, one for what is left of source and target, joined."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from transfer.alignment.matching import Alignment, LayerPair, match
from transfer.alignment.scaling import at_common_scale
from transfer.alignment.towers import LEAST, Towers, part_of, without_towers
from transfer.options import Options
from transfer.planning.dpiat_rows import dpiat_rows
from transfer.planning.planned import PlannedTensor, TransferPlan
from transfer.structure.records import Header
from transfer.structure.standardization import standardize_header

if TYPE_CHECKING:
    from torch import nn

__all__ = ["joined_plans"]

Planner = Callable[[Alignment, Header, "nn.Module | None"], TransferPlan]


def joined_plans(
    alignment: Alignment,
    towers: Towers,
    header: Header,
    module: nn.Module | None,
    options: Options,
    planner: Planner,
) -> tuple[Alignment, dict[str, PlannedTensor]]:
    """Plan the towers of a target one by one, and then the rest.

    Parameters
    ----------
    alignment : Alignment
        Of source and target as a whole.
    towers : Towers
    header : mapping of str to Signature
        Of the target.
    module : nn.Module or None
        The target, where there is one.
    options : Options
    planner : callable
        Plans what one alignment implies.

    Returns
    -------
    alignment : Alignment
        One source layer may feed a layer of each tower.
    rows : dict of str to PlannedTensor
        By name, of the tensors that something was planned for.
    """
    source, target = alignment.source, alignment.target
    rows: dict[str, PlannedTensor] = {}
    fed: dict[str, LayerPair] = {}
    for path in towers.paths:
        prefix = f"{path}."
        part = _submodule(module, path)
        inside = {name.removeprefix(prefix): header[name] for name in header if name.startswith(prefix)}
        # by itself a tower can be run where the network wants several inputs, or does not use it
        form = part_of(target, path) if part is None else standardize_header(inside, part)
        made = planner(match(source, form), inside, part)
        rows |= {prefix + row.name: _renamed(row, prefix) for row in made.tensors}
        fed |= {prefix + pair.target.path: pair for pair in made.alignment.pairs}
    used = {pair.source.path for pair in fed.values()}
    left, rest = without_towers(source, target, towers.paths, used)
    outside = {name for name in header if name not in rows}
    if left.n_scoring and rest.n_scoring:
        aligned, similarity = at_common_scale(match(left, rest))
        if similarity >= LEAST:
            # planned beside the towers: what is left reads concatenations of what they give
            everything = _joined(alignment, fed | {pair.target.path: pair for pair in aligned.pairs})
            carried_out, planned = dpiat_rows(everything, options, module)
            rows |= {name: row for name, row in planned.items() if name in outside}
            fed |= {p.target.path: p for p in carried_out.pairs if outside & {t.name for t in p.target.tensors}}
    return _joined(alignment, fed), rows


def _submodule(module: nn.Module | None, path: str) -> nn.Module | None:
    try:
        return None if module is None else module.get_submodule(path)
    except AttributeError:  # a state dict may be made otherwise
        return None


def _renamed(row: PlannedTensor, prefix: str) -> PlannedTensor:
    tied = prefix + row.tied_to if row.tied_to else ""
    reason = row.reason.replace(repr(row.tied_to), repr(tied)) if tied else row.reason
    return replace(row, name=prefix + row.name, tied_to=tied, reason=reason)


def _joined(alignment: Alignment, fed: dict[str, LayerPair]) -> Alignment:
    """Say in terms of the whole networks which layer feeds which; a plan may have cut the source otherwise."""
    place = {layer.path: i for i, item in enumerate(alignment.source.items) for layer in item.layers}
    pairs = [
        replace(pair, target=layer, target_item=i, source_item=place[pair.source.path])
        for i, item in enumerate(alignment.target.items)
        for layer in item.layers
        if (pair := fed.get(layer.path)) is not None
    ]
    return replace(alignment, pairs=tuple(pairs))
