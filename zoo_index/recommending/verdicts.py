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

__all__ = [
    "USEFUL",
    "Calibration",
    "Verdict",
    "advice",
    "calibrations",
    "doubt",
    "in_percent",
    "outcome",
    "percent",
    "verdict",
]

USEFUL = ("strong", "some")
"""Benefits that are worth a transfer."""


_EXPECTED = {
    "strong": "a strong head start",
    "some": "some head start",
    "none": "expect no gain over random initialisation",
    "likely to hurt": "it may train worse than from random initialisation",
}
"""What the benefits mean, in words."""

_NEARLY_ALL = 0.9
"""Coverage from which on what is left needs no words."""


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
    return (
        f"measured on {each.n_pairs} pairs of small networks with a similarity of {each.least_similarity:g} to "
        f"{upper:g}, accuracy in the first hundred steps relative to random initialisation: median "
        f"{each.gain_median:.2f}x, 10th percentile {each.gain_lowest_tenth:.2f}x; {each.n_worse} of {each.n_pairs} "
        f"were worse by more than {each.margin:.0%}"
    )


def advice(source: str, benefit: str, coverage: float) -> str:
    """Say in one sentence whether to take the best source that there is, and what to expect.

    Parameters
    ----------
    source : str
        Its name.
    benefit : {'strong', 'some', 'none', 'likely to hurt'}
    coverage : float
        Part of the target that it fills, in [0, 1].
    """
    if benefit not in USEFUL:
        return f"Use none: even the best source, {source}, is too different. {_EXPECTED[benefit].capitalize()}."
    if coverage >= _NEARLY_ALL:
        return f"Use {source}: it fills {in_percent(coverage)} of your network; expect {_EXPECTED[benefit]}."
    return (
        f"Use {source}: expect {_EXPECTED[benefit]} where it fits, but it fills only {in_percent(coverage)} of "
        "your network; the rest starts random."
    )


def outcome(benefit: str, coverage: float, *, is_done: bool) -> str:
    """Say in one sentence what to expect of a network after a transfer.

    Parameters
    ----------
    benefit, coverage
        As for `advice`.
    is_done : bool
        Whether it was carried out, or only planned.
    """
    share = in_percent(coverage)
    start, fill = ("starts", "was filled") if is_done else ("would start", "would be filled")
    if not coverage:
        return f"Nothing {fill}; your network {start} from random initialisation."
    if benefit not in USEFUL:
        return f"{share} of your network {fill}. {_EXPECTED[benefit].capitalize()}."
    if coverage >= _NEARLY_ALL:
        return f"{share} of your network {start} trained; expect {_EXPECTED[benefit]}."
    rest = f"expect {_EXPECTED[benefit]} where it {fill}"
    return f"Only {share} of your network {start} trained, the rest is random; {rest}."


def doubt(source: str, similarity: float) -> str:
    """Say what is wrong with a source that is not expected to help; empty for others."""
    if verdict(similarity).is_useful:
        return ""
    return (
        f"{source} has too little in common with your network (similarity {similarity:.2f}); "
        "rather train from random initialisation, or look for another source: zoo recommend --explain"
    )


def in_percent(share: float) -> str:
    """Write a share as people say it, with a digit more where it is nearly all."""
    return percent(share).replace(".0%", "%") if share >= _NEARLY_ALL else f"{share:.0%}"


def percent(share: float) -> str:
    """Write a share with one digit; never 100% of what is less."""
    return "99.9%" if 0.999 < share < 1 else f"{share:.1%}"
