"""What benefit to expect of a source: what was measured at like similarity (docs/quality.md).

``verdicts.json`` is written by the quality laboratory (``make bench-quality``): small networks of five families,
every source into every target by `dpiat`, accuracy in the first hundred steps relative to that from random
initialisation.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources

__all__ = ["USEFUL", "Calibration", "Verdict", "calibrations", "verdict"]

USEFUL = ("strong", "some")
"""Benefits that are worth a transfer."""


@dataclass(frozen=True)
class Calibration:
    """What was measured in one range of similarities.

    Parameters
    ----------
    benefit : {'strong', 'some', 'none', 'likely to hurt'}
    least_similarity : float
        The range goes up to the next one's.
    n_pairs : int
        Pairs of source and target that were measured in it.
    gain_median, gain_lowest_tenth : float
        Accuracy in the first hundred steps, times that from random initialisation.
    n_worse : int
        Pairs that did worse than random initialisation by more than `margin`.
    margin : float
        Relative difference that counts, about the standard deviation between seeds.
    """

    benefit: str
    least_similarity: float
    n_pairs: int
    gain_median: float
    gain_lowest_tenth: float
    n_worse: int
    margin: float


@dataclass(frozen=True)
class Verdict:
    """Expected benefit of a source, and why.

    Parameters
    ----------
    benefit : {'strong', 'some', 'none', 'likely to hurt'}
    evidence : str
        A sentence with the figures.
    """

    benefit: str
    evidence: str

    @property
    def is_useful(self) -> bool:
        """Whether it is worth a transfer."""
        return self.benefit in USEFUL


@cache
def calibrations() -> tuple[Calibration, ...]:
    """Return what was measured, the range of the highest similarities first."""
    text = resources.files("zoo_index.recommending").joinpath("verdicts.json").read_text()
    return tuple(Calibration(**each) for each in json.loads(text))


def verdict(similarity: float) -> Verdict:
    """Judge a source by its similarity.

    Parameters
    ----------
    similarity : float
        Under ``dpiat``; less than 0 and not a number count as 0.
    """
    upper, (*ranges, lowest) = 1.0, calibrations()
    for each in ranges:
        if similarity >= each.least_similarity:
            return Verdict(each.benefit, _evidence(each, upper))
        upper = each.least_similarity
    return Verdict(lowest.benefit, _evidence(lowest, upper))


def _evidence(each: Calibration, upper: float) -> str:
    worse = "none" if each.n_worse == 0 else f"{each.n_worse / each.n_pairs:.0%}"
    return (
        f"of {each.n_pairs} measured pairs of small networks with a similarity of {each.least_similarity:g} to "
        f"{upper:g}, in the first hundred steps the middle one reached {each.gain_median:.2f} times the accuracy "
        f"of random initialisation, the lowest tenth {each.gain_lowest_tenth:.2f} times or less; {worse} did worse "
        f"by more than {each.margin:.0%}"
    )
