"""Which starts are measured."""

from __future__ import annotations

import random
from itertools import permutations

from quality.jobs import Job
from quality.methods import ablations
from quality.networks import NETWORKS, family
from quality.training import STEPS

SEEDS = (0, 1, 2)
EARLY = tuple(step for step in STEPS if step <= 100)
FOR_GAIN = tuple(step for step in EARLY if step != 10)
"""Those that the gain is told by, and the first; the others only cost time where nobody looks at them."""

COMPARED = ("same name", "weight selection", "iatransfer", "paper", "dpiat")
N_ACROSS = 6
QUIET = "quiet_head=False"
"""The choice of `dpiat` that matters only where the classes differ."""

Pair = tuple[str, str]


def within() -> list[Pair]:
    """Return all ordered (source, target) pairs of one family."""
    return [pair for pair in permutations(NETWORKS, 2) if family(pair[0]) == family(pair[1])]


def across() -> list[Pair]:
    """Return a fixed sample of the pairs of two families."""
    every = [pair for pair in permutations(NETWORKS, 2) if family(pair[0]) != family(pair[1])]
    return random.Random(0).sample(every, N_ACROSS)


def baseline() -> list[Job]:
    return [Job("same labels", "", target, "random", seed, STEPS) for target in NETWORKS for seed in SEEDS]


def comparison() -> list[Job]:
    """Every method on all pairs within families, and on some across, to the end.

    Methods that may give equal starts are far apart, so that the second finds what the first did.
    """
    methods = [(pair, method) for method in COMPARED for pair in within()]
    methods += [(pair, method) for method in ("iatransfer", "paper", "dpiat") for pair in across()]
    return [Job("same labels", *pair, method, seed, STEPS) for seed in SEEDS for pair, method in methods]


def firsts() -> list[Pair]:
    """Return pairs from the first of each family to the last two of it."""
    members: dict[str, list[str]] = {}
    for name in NETWORKS:
        members.setdefault(family(name), []).append(name)
    return [(first, other) for first, *others in members.values() for other in others[-2:]]


def other_labels() -> list[Job]:
    """Start from sources that learnt other classes than the target is going to, to the end."""
    methods = [("", target, "random", STEPS) for _, target in firsts()]
    methods += [(*pair, method, STEPS) for method in ("iatransfer", "dpiat") for pair in firsts()]
    methods += [(*pair, QUIET, EARLY) for pair in firsts()]
    return [Job("other labels", *start, seed, steps) for seed in SEEDS for *start, steps in methods]


def ablation() -> list[Job]:
    """Measure one choice of `dpiat` made otherwise, within families, early."""
    steps = tuple(step for step in FOR_GAIN if step <= 50)
    methods = [(*pair, method) for pair in within() for method in ablations() if method != QUIET]
    return [Job("same labels", *each, seed, steps) for seed in SEEDS for each in methods]


def every_source() -> list[Job]:
    """`dpiat` from every source into every target, early: what a recommender should know."""
    pairs = list(permutations(NETWORKS, 2))
    return [Job("same labels", *pair, "dpiat", seed, FOR_GAIN) for seed in SEEDS[:1] for pair in pairs]


PARTS = {
    "baseline": baseline,
    "comparison": comparison,
    "other labels": other_labels,
    "ablation": ablation,
    "every source": every_source,
}
