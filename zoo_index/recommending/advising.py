"""What to make of a ranking: which source to take, in one sentence. Terminal, pages and server say the same."""

from __future__ import annotations

from dataclasses import dataclass

from zoo_index.recommending.answers import Recommendation, Recommendations
from zoo_index.recommending.verdicts import USEFUL, advice

__all__ = ["Advice", "advise"]

_BEST_FIRST = ("strong", "some", "none", "likely to hurt")
"""Benefits."""


@dataclass(frozen=True)
class Advice:
    """Which source to take, and what to expect of it.

    Parameters
    ----------
    rank : int
        Of the source in the ranking.
    source : str
        Its name.
    benefit : {'strong', 'some', 'none', 'likely to hurt'}
    is_useful : bool
        Whether a transfer from it is worth it.
    text : str
        The sentence.
    """

    rank: int
    source: str
    benefit: str
    is_useful: bool
    text: str


def advise(answer: Recommendations) -> Advice | None:
    """Judge the first result of the best benefit; None where no benefit is known, as by the paper's measure.

    Parameters
    ----------
    answer : Recommendations
    """
    best = min(filter(_is_judged, answer.results), key=_place, default=None)
    if best is None:
        return None
    benefit = str(best.benefit)
    text = advice(best.name, benefit, best.coverage)
    return Advice(best.rank, best.name, benefit, benefit in USEFUL, text)


def _is_judged(result: Recommendation) -> bool:
    return result.benefit is not None


def _place(result: Recommendation) -> int:
    return _BEST_FIRST.index(str(result.benefit))
