"""How alike two networks are, read as a plan reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from transfer.alignment.any_order import was_run
from transfer.alignment.matching import plain_similarity
from transfer.alignment.similarity import best_similarity
from transfer.planning.sides import read_sides
from transfer.structure.standardization import check_form, standardize

if TYPE_CHECKING:
    from transfer.structure.headers import NetworkLike

__all__ = ["similarity"]


def similarity(source: NetworkLike, target: NetworkLike, *, measure: str = "dpiat") -> float:
    """How much of the target the source can supply.

    Parameters
    ----------
    source, target : nn.Module, state dict, Checkpoint, path or Architecture
    measure : {'dpiat', 'paper'}
        See `ranking.similarities` for the formulas; ``dpiat`` is the largest value over common ratios of the
        widths, times the square root of the ratio where that is not 1, or that of several towers. Of a source that
        was not run the order of its layers is not relied on (`any_order`); where a file does not tell it, it is
        read in the order of the target, as by `plan`.

    Returns
    -------
    float
        In [0, 1]. Not symmetric: blocks of the source may feed several of the target.

    Raises
    ------
    MethodError, CheckpointError, InputError
        As `standardize`.
    """
    form = check_form(measure, "measure")
    if form == "paper":
        return plain_similarity(standardize(source, method=form), standardize(target, method=form))
    sides = read_sides(source, target)
    return best_similarity(sides.source, sides.target, is_ordered=was_run(sides.source))
