"""What `recommend` says of the benefit to be expected."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from zoo_index.recommending.verdicts import advice, calibrations, outcome, verdict

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
    assert f"measured on {first.n_pairs} pairs" in judged.evidence
    assert f"median {first.gain_median:.2f}x" in judged.evidence
    for similarity in (0.0, 0.01, 0.1, -1e-12, float("nan")):
        judged = verdict(similarity)
        assert (judged.benefit, judged.is_useful) == ("likely to hurt", False)
        assert f"{last.n_worse} of {last.n_pairs} were worse by more than 3%" in judged.evidence


@pytest.mark.parametrize(
    ("benefit", "coverage", "said"),
    [
        ("strong", 0.9964, "Use net: it fills 99.6% of your network; expect a strong head start."),
        ("strong", 0.9999, "Use net: it fills 99.9% of your network; expect a strong head start."),
        ("strong", 1.0, "Use net: it fills 100% of your network; expect a strong head start."),
        (
            "strong",
            0.52,
            "Use net: expect a strong head start where it fits, but it fills only 52% of your network; the rest "
            "starts random.",
        ),
        ("some", 0.95, "Use net: it fills 95% of your network; expect some head start."),
        (
            "none",
            0.95,
            "Use none: even the best source, net, is too different. Expect no gain over random initialisation.",
        ),
    ],
)
def test_the_verdict_is_one_sentence_that_says_what_stays_random(benefit: str, coverage: float, said: str) -> None:
    assert advice("net", benefit, coverage) == said


def test_a_transfer_ends_with_what_to_expect() -> None:
    assert (
        outcome("strong", 1.0, is_done=True) == "100% of your network starts trained; expect a strong head start."
    )
    assert "Only 52% of your network starts trained, the rest is random" in outcome("strong", 0.52, is_done=True)
    assert "it may train worse" in outcome("likely to hurt", 0.9, is_done=True).lower()
    assert outcome("likely to hurt", 0.0, is_done=False) == (
        "Nothing would be filled; your network would start from random initialisation."
    )


def test_the_verdicts_are_those_that_were_measured() -> None:
    measured = json.loads((ROOT / "benchmarks" / "results" / "quality.json").read_text())["verdicts"]
    assert json.loads((ROOT / "zoo_index" / "recommending" / "verdicts.json").read_text()) == measured
