"""What `recommend` says of the benefit to be expected."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

from zoo_index.recommending.verdicts import calibrations, verdict

ROOT = Path(__file__).parents[3]


def test_more_alike_is_more_useful() -> None:
    found = calibrations()
    assert [each.benefit for each in found] == ["strong", "some", "none", "likely to hurt"]
    assert found[-1].least_similarity == 0
    for better, worse in pairwise(found):
        assert better.least_similarity > worse.least_similarity
        assert better.gain_lowest_tenth > worse.gain_lowest_tenth
        assert better.n_worse / better.n_pairs < worse.n_worse / worse.n_pairs
    assert found[0].gain_lowest_tenth > 1
    useful, others = ([each.gain_median for each in side] for side in (found[:2], found[2:]))
    assert min(useful) > max(others)


def test_a_verdict_states_its_evidence() -> None:
    first, *_, last = calibrations()
    judged = verdict(1.0)
    assert (judged.benefit, judged.is_useful) == ("strong", True)
    assert f"of {first.n_pairs} measured pairs" in judged.evidence
    assert f"{first.gain_median:.2f} times" in judged.evidence
    for similarity in (0.0, 0.01, 0.1, -1e-12, float("nan")):
        judged = verdict(similarity)
        assert (judged.benefit, judged.is_useful) == ("likely to hurt", False)
        assert f"{last.n_worse / last.n_pairs:.0%} did worse" in judged.evidence


def test_the_verdicts_are_those_that_were_measured() -> None:
    measured = json.loads((ROOT / "benchmarks" / "results" / "quality.json").read_text())["verdicts"]
    assert json.loads((ROOT / "zoo_index" / "recommending" / "verdicts.json").read_text()) == measured
