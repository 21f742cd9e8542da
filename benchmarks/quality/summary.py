"""From single starts to figures: methods side by side, families, ablations, what must be reached."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from quality.networks import family
from quality.statistics import Row, accuracy, against, by_pair, interval, mean_of_pairs, probe, ratio_of_means
from quality.training import STEPS

LIMITS = {
    "times iatransfer, before training": 2.4,
    "times iatransfer, after 20 steps": 1.2,
    "ridge probe over iatransfer": 0.05,
    "over iatransfer, after 400 steps": 0.0,
    "times random, at half of its final accuracy": 1.6,
    "pairs worse than random, after 400 steps": 0,
}


def is_within(row: Row) -> bool:
    return not row["source"] or family(row["source"]) == family(row["target"])


def of_method(rows: Sequence[Row], method: str) -> list[Row]:
    return [row for row in rows if row["method"] == method]


def curve(rows: Sequence[Row]) -> dict[str, Any]:
    """Mean accuracy at each step, and of the probe, over pairs and seeds, with intervals over pairs."""
    steps = list(rows[0]["accuracy"])
    return {
        "n_pairs": len(by_pair(rows, probe)),
        "accuracy": {step: summarized(rows, accuracy(int(step))) for step in steps},
        "probe": summarized(rows, probe),
    }


def summarized(rows: Sequence[Row], value: Any) -> dict[str, Any]:
    means = mean_of_pairs(by_pair(rows, value))
    return {"mean": float(means.mean()), "interval": interval(means)}


def methods(rows: Sequence[Row], random: Sequence[Row]) -> dict[str, Any]:
    """Every method: its curve, and that of random starts of the same pairs' targets; differences at each step."""
    found = {}
    for method in dict.fromkeys(row["method"] for row in rows):
        chosen = of_method(rows, method)
        steps = [int(step) for step in chosen[0]["accuracy"]]
        found[method] = curve(chosen) | {
            "against random": {
                str(step): against(chosen, random, accuracy(step), same_source=False) for step in steps
            }
        }
    found["random"] = curve(as_pairs(random, rows))
    return found


def as_pairs(random: Sequence[Row], rows: Sequence[Row]) -> list[Row]:
    """Count random starts once for each pair, so that all means are over the same targets."""
    pairs = dict.fromkeys((row["source"], row["target"]) for row in rows)
    return [row | {"source": source} for source, target in pairs for row in random if row["target"] == target]


def by_family(rows: Sequence[Row], random: Sequence[Row]) -> dict[str, Any]:
    names = dict.fromkeys(family(row["target"]) for row in rows)
    found = {}
    for name in names:
        mine = [row for row in rows if family(row["target"]) == name]
        base = [row for row in random if family(row["target"]) == name]
        found[name] = {
            method: curve(of_method(mine, method)) for method in dict.fromkeys(r["method"] for r in mine)
        }
        found[name]["random"] = curve(as_pairs(base, mine))
    return found


def half_budget(rows: Sequence[Row], random: Sequence[Row]) -> dict[str, Any]:
    """Accuracy relative to random, at the step where random reaches half of its final accuracy, per target.

    Between measured steps accuracy is taken to be linear.
    """
    random_of, ours_of = curves_by_target(random), curves_by_target(rows)
    pairs, budgets = [], {}
    for target, ours in ours_of.items():
        (base,) = random_of[target].values()
        half, step = base[-1] / 2, 0.0
        for i in range(1, len(STEPS)):
            if base[i] >= half:
                step = (
                    float(np.interp(half, base[i - 1 : i + 1], STEPS[i - 1 : i + 1])) if base[i - 1] < half else 0.0
                )
                break
        budgets[target] = step
        pairs += [[np.interp(step, STEPS, each), np.interp(step, STEPS, base)] for each in ours.values()]
    values = np.array(pairs)
    return {
        "steps": budgets,
        "ratio": ratio_of_means(values),
        "ratio_interval": interval(values, ratio_of_means),
    }


def curves_by_target(rows: Sequence[Row]) -> dict[str, dict[str, np.ndarray]]:
    """Mean accuracy over the seeds, (n_steps,), by target and source."""
    found: dict[str, dict[str, list[list[float]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        found[row["target"]][row["source"]].append([row["accuracy"][str(step)] for step in STEPS])
    return {
        target: {source: np.mean(curves, axis=0) for source, curves in sources.items()}
        for target, sources in found.items()
    }


def reached(rows: Sequence[Row], random: Sequence[Row]) -> dict[str, Any]:
    """Figures that must be reached, within families: `dpiat` against iatransfer and against random."""
    ours, theirs = of_method(rows, "dpiat"), of_method(rows, "iatransfer")
    at = {step: against(ours, theirs, accuracy(step), same_source=True) for step in (0, 20, 400)}
    probed = against(ours, theirs, probe, same_source=True)
    half = half_budget(ours, random)
    late = against(ours, random, accuracy(400), same_source=False)
    return {
        "times iatransfer, before training": (at[0]["ratio"], at[0]["ratio_interval"]),
        "times iatransfer, after 20 steps": (at[20]["ratio"], at[20]["ratio_interval"]),
        "ridge probe over iatransfer": (probed["difference"], probed["difference_interval"]),
        "over iatransfer, after 400 steps": (at[400]["difference"], at[400]["difference_interval"]),
        "times random, at half of its final accuracy": (half["ratio"], half["ratio_interval"]),
        "pairs worse than random, after 400 steps": (late["losses"], None),
    }


def hurt(rows: Sequence[Row], random: Sequence[Row], steps: Sequence[int]) -> dict[str, Any]:
    """Pairs that are significantly worse than random, after correction for their number."""
    return {
        str(step): against(of_method(rows, "dpiat"), random, accuracy(step), same_source=False)["worst"]
        for step in steps
    }


def ablations(rows: Sequence[Row], comparison: Sequence[Row]) -> dict[str, Any]:
    """Every choice of `dpiat` made otherwise, less the default, on the pairs where the start differs at all."""
    ours = of_method(comparison, "dpiat")
    known = {(row["source"], row["target"], row["seed"]): row for row in ours}
    found = {}
    for name in dict.fromkeys(row["method"] for row in rows):
        chosen = of_method(rows, name)
        pairs = {
            (row["source"], row["target"])
            for row in chosen
            if any(
                row["accuracy"][step] != known[row["source"], row["target"], row["seed"]]["accuracy"][step]
                for step in row["accuracy"]
            )
        }
        changed = [row for row in chosen if (row["source"], row["target"]) in pairs]
        found[name] = {"n_pairs": len(pairs)} | (
            {step: against(changed, ours, accuracy(int(step)), same_source=True) for step in chosen[0]["accuracy"]}
            | {"probe": against(changed, ours, probe, same_source=True)}
            if pairs
            else {}
        )
    return found
