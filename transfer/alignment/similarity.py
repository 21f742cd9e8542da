"""How much of a target a source can supply: as one network, at the scale that suits both, or as several towers."""

from __future__ import annotations

from collections.abc import Sequence

from transfer.alignment.any_order import in_common
from transfer.alignment.matching import plain_similarity
from transfer.alignment.scaling import scaled_similarity
from transfer.alignment.towers import Subtree, find_towers
from transfer.structure.records import Architecture

__all__ = ["best_similarity"]


def best_similarity(
    source: Architecture,
    target: Architecture,
    plain: float | None = None,
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
    plain : float, optional
        Their similarity at true widths, as one network, if it is known.
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
    plain = plain_similarity(source, target) if plain is None else plain
    if not is_ordered and target.form == "dpiat":
        plain = max(plain, in_common(source, target).similarity)
    whole = scaled_similarity(source, target, plain, least=least)
    towers = find_towers(source, target, whole, trees)
    return whole if towers is None else max(whole, towers.similarity)
