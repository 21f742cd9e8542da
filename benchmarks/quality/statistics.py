"""Means with intervals, wins and losses, of what was measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from scipy import stats

from quality.networks import family

Row = dict[str, Any]
Value = Callable[[Row], float]
"""What is looked at of a start."""

N_BOOTSTRAP = 2000


def accuracy(step: int) -> Value:
    return lambda row: row["accuracy"][str(step)]


def probe(row: Row) -> float:
    return row["probe"]


def by_pair(rows: Iterable[Row], value: Value) -> dict[tuple[str, str], dict[int, float]]:
    """Values by (source, target) and seed."""
    found: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for row in rows:
        found[row["source"], row["target"]][row["seed"]] = value(row)
    return found


def mean_of_pairs(pairs: dict[tuple[str, str], dict[int, float]]) -> np.ndarray:
    return np.array([np.mean(list(seeds.values())) for seeds in pairs.values()])


def interval(values: np.ndarray, of: Callable[[np.ndarray], float] = np.mean) -> tuple[float, float]:
    """95 % interval by drawing pairs, the rows of `values`, anew."""
    random = np.random.default_rng(0)
    draws = [of(values[random.integers(0, len(values), len(values))]) for _ in range(N_BOOTSTRAP)]
    low, high = np.quantile(draws, [0.025, 0.975])
    return float(low), float(high)


def ratio_of_means(values: np.ndarray) -> float:
    """Ratio of the means of two columns."""
    return float(values[:, 0].mean() / values[:, 1].mean())


def against(rows: Sequence[Row], others: Sequence[Row], value: Value, *, same_source: bool) -> dict[str, Any]:
    """Compare starts with others of the same target, seed and, if told so, source.

    Wins and losses are pairs whose difference over the seeds is significant (paired t-test, 5 %, one side), with
    the variance of the seeds pooled over the pairs of a target's family, as families differ in it; `worst` are the
    pairs that stay so after Holm's correction.
    """
    known = {(row["source"] if same_source else "", row["target"], row["seed"]): value(row) for row in others}
    ours, theirs = defaultdict(list), defaultdict(list)
    for row in rows:
        key = (row["source"] if same_source else "", row["target"], row["seed"])
        if key in known:
            ours[row["source"], row["target"]].append(value(row))
            theirs[row["source"], row["target"]].append(known[key])
    pairs = list(ours)
    differences = [np.subtract(ours[pair], theirs[pair]) for pair in pairs]
    means = np.array([each.mean() for each in differences])
    worse = np.empty(len(pairs))
    families = np.array([family(target) for _, target in pairs])
    for name in np.unique(families):
        chosen = np.flatnonzero(families == name)
        freedom = max(sum(len(differences[i]) - 1 for i in chosen), 1)
        pooled = sum(((differences[i] - means[i]) ** 2).sum() for i in chosen) / freedom
        errors = np.sqrt(pooled / np.array([len(differences[i]) for i in chosen])) + 1e-12
        worse[chosen] = stats.t.cdf(means[chosen] / errors, freedom)
    columns = np.array([[np.mean(ours[pair]), np.mean(theirs[pair])] for pair in pairs])
    order, rejected = np.argsort(worse), []
    for place, index in enumerate(order):
        if worse[index] > 0.05 / (len(order) - place):
            break
        rejected.append({"pair": " to ".join(pairs[index]), "difference": float(means[index])})
    return {
        "n_pairs": len(pairs),
        "mean": float(columns[:, 0].mean()),
        "other": float(columns[:, 1].mean()),
        "difference": float(means.mean()),
        "difference_interval": interval(means),
        "ratio": ratio_of_means(columns),
        "ratio_interval": interval(columns, ratio_of_means),
        "wins": int((worse > 0.95).sum()),
        "losses": int((worse < 0.05).sum()),
        "worst": rejected,
    }
