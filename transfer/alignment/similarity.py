"""How much of a target a source can supply: as one network, at the scale that suits both, or as several towers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from transfer.alignment.any_order import in_common, was_run
from transfer.alignment.matching import plain_similarity
from transfer.alignment.scaling import scaled_similarity
from transfer.alignment.towers import Subtree, find_towers
from transfer.structure.records import Architecture
from transfer.structure.standardization import check_form, standardize

if TYPE_CHECKING:
    from transfer.structure.standardization import NetworkLike

__all__ = ["best_similarity", "similarity"]


def similarity(source: NetworkLike, target: NetworkLike, *, measure: str = "dpiat") -> float:
    """How much of the target the source can supply.

    Parameters
    ----------
    source, target : nn.Module, state dict, Checkpoint, path or Architecture
    measure : {'dpiat', 'paper'}
        See `ranking.similarities` for the formulas; ``dpiat`` is the largest value over common ratios of the
        widths, times the square root of the ratio where that is not 1, or that of several towers. Of a source that
        was not run the order of its layers is not relied on (`any_order`).

    Returns
    -------
    float
        In [0, 1]. Not symmetric: blocks of the source may feed several of the target.
    """
    form = check_form(measure, "measure")
    source_form, target_form = standardize(source, method=form), standardize(target, method=form)
    plain = plain_similarity(source_form, target_form)
    return best_similarity(source_form, target_form, plain, is_ordered=was_run(source_form))


def best_similarity(
    source: Architecture,
    target: Architecture,
    plain: float,
    *,
    least: float = 0.0,
    trees: Sequence[Subtree] | None = None,
    is_ordered: bool = True,
) -> float:
    """Similarity of standardized networks.

    Parameters
    ----------
    source, target : Architecture
        In the same form; in the ``paper`` form this is `plain`.
    plain : float
        Their similarity at true widths, as one network.
    least : float
        What is not above this is not looked for at other widths.
    trees : sequence of Subtree, optional
        Of the target, if they are known.
    is_ordered : bool
        Whether the source's layers are in the order in which they run; else those of equal shape are counted, too.

    Returns
    -------
    float
        In [0, 1], at least `plain`.
    """
    if not is_ordered and target.form == "dpiat":
        plain = max(plain, in_common(source, target).similarity)
    whole = scaled_similarity(source, target, plain, least=least)
    towers = find_towers(source, target, whole, trees)
    return whole if towers is None else max(whole, towers.similarity)
