"""Does a measure pick the source that helps most? For each target over all sources, against trivial rankings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any
from unittest.mock import patch

import numpy as np
from scipy import stats

import transfer
from quality.networks import NETWORKS, build, family
from quality.statistics import Row
from transfer.alignment import scaling

GAIN_STEPS = ("20", "50", "100")
TUNED_ON = ("residual", "inverted")
"""Families whose targets a measure may be fitted to; it is reported on the others."""

EXPONENTS = (0.0, 0.1, 0.25, 0.5, 0.75)
"""Of the ratio of widths, what is alike at a common scale is worth less by."""

SUITED = ("price 0.1", "price 0.25", "price 0.5")
"""Prices that also suit transfers, which go by the same rule: at 0 ratios are taken that crop what fits exactly,
above 0.56 stages of other widths of one family no longer meet."""

EVERY = ("dpiat at true widths", *(f"price {exponent:g}" for exponent in EXPONENTS))

Pair = tuple[str, str]


def gains(rows: Sequence[Row], random: Sequence[Row]) -> dict[Pair, float]:
    """Accuracy in the first hundred steps, relative to that from random initialisation; mean over seeds."""

    def early(row: Row) -> float:
        return float(np.mean([row["accuracy"][step] for step in GAIN_STEPS]))

    base, found = defaultdict(list), defaultdict(list)
    for row in random:
        base[row["target"]].append(early(row))
    for row in rows:
        found[row["source"], row["target"]].append(early(row))
    return {pair: float(np.mean(values) / np.mean(base[pair[1]])) for pair, values in found.items()}


def facts() -> dict[Pair, dict[str, float]]:
    """Compute what can be known of each pair without weights."""
    networks = {name: build(name, 10) for name in NETWORKS}
    forms = {
        form: {n: transfer.standardize(m, method=form) for n, m in networks.items()} for form in ("paper", "dpiat")
    }
    sizes = {name: sum(p.numel() for p in model.parameters()) for name, model in networks.items()}
    found = {}
    for source, target in permutations(NETWORKS, 2):
        pair: dict[str, float] = {}
        for form, of in forms.items():
            there, back = (transfer.match(of[a], of[b], method=form).similarity for a, b in both(source, target))
            name = "dpiat at true widths" if form == "dpiat" else form
            pair |= {name: there, f"{name}, reverse": back, f"{name}, both ways": float(np.sqrt(there * back))}
        for exponent in EXPONENTS:
            with patch.object(scaling, "_EXPONENT", exponent):
                pair[f"price {exponent:g}"] = transfer.similarity(forms["dpiat"][source], forms["dpiat"][target])
        pair["dpiat"] = transfer.similarity(forms["dpiat"][source], forms["dpiat"][target])
        plan = transfer.plan(networks[source], networks[target])
        pair["coverage"] = plan.coverage
        pair["dpiat, times coverage"] = pair["dpiat"] * plan.coverage
        pair["largest source"] = sizes[source]
        pair["same family, nearest size"] = (family(source) == family(target)) - abs(
            np.log(sizes[source] / sizes[target])
        ) / 100
        pair["any"] = 0.0
        found[source, target] = pair
    return found


def both(source: str, target: str) -> tuple[Pair, Pair]:
    """Return a pair, and the same the other way round."""
    return (source, target), (target, source)


def judge(measure: dict[Pair, float], gain: dict[Pair, float], targets: Sequence[str]) -> dict[str, Any]:
    """Rank correlation with the gain, and gain of the pick over the best gain, per target and on average.

    Where several sources share the first place, the pick is any of them.
    """
    correlations, picks = {}, {}
    for target in targets:
        sources = [source for source, wanted in gain if wanted == target]
        values = np.array([measure[source, target] for source in sources])
        real = np.array([gain[source, target] for source in sources])
        if np.ptp(values) > 0:
            correlations[target] = float(stats.spearmanr(values, real).statistic)
        picks[target] = float(real[values >= values.max() - 1e-9].mean() / real.max())
    return {
        "correlation": float(np.mean(list(correlations.values()))) if correlations else None,
        "pick_over_best": float(np.mean(list(picks.values()))),
        "worst_pick": min(picks.values()),
        "picks": picks,
    }


def compare(gain: dict[Pair, float], known: dict[Pair, dict[str, float]]) -> dict[str, dict[str, Any]]:
    """Judge every measure, on the targets that it may be fitted to and on the others."""
    measures = next(iter(known.values()))
    groups: dict[str, Callable[[str], bool]] = {
        "all": lambda _: True,
        "tuned": lambda target: family(target) in TUNED_ON,
        "held out": lambda target: family(target) not in TUNED_ON,
    }
    return {
        measure: {
            group: judge(
                {pair: of[measure] for pair, of in known.items()}, gain, [t for t in NETWORKS if belongs(t)]
            )
            for group, belongs in groups.items()
        }
        for measure in measures
    }


def left_out(
    gain: dict[Pair, float], known: dict[Pair, dict[str, float]], choices: Sequence[str] = SUITED
) -> dict[str, dict[str, Any]]:
    """Choose the price of width on all families but one, and judge the choice on that one; each in turn."""
    picks = {
        name: judge({pair: of[name] for pair, of in known.items()}, gain, list(NETWORKS))["picks"]
        for name in (*EVERY, "same family, nearest size")
    }

    def mean(measure: str, *, of: str, outside: bool = False) -> float:
        return float(np.mean([picks[measure][name] for name in NETWORKS if (family(name) == of) != outside]))

    found = {}
    for each in dict.fromkeys(map(family, NETWORKS)):
        chosen = max(choices, key=lambda name, each=each: mean(name, of=each, outside=True))
        others = {name: mean(name, of=each) for name in ("dpiat at true widths", "same family, nearest size")}
        n_targets = sum(family(name) == each for name in NETWORKS)
        found[each] = {"chosen": chosen, "n_targets": n_targets, "pick_over_best": mean(chosen, of=each)} | others
    return found
