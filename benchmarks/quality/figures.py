"""Everything that the report says, computed from the rows of all parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import mean
from typing import Any

import numpy as np

from quality import recommender, summary, verdicts
from quality.design import SEEDS
from quality.networks import NETWORKS, build
from quality.statistics import Row, accuracy, against, probe
from quality.training import STEPS

EARLY_AND_LATE = ("0", "20", "400")

Parts = Mapping[str, Sequence[Row]]


def figures(parts: Parts) -> dict[str, Any]:
    """Summarize all parts of the laboratory.

    Parameters
    ----------
    parts : mapping of str to sequence of dict
        Rows by the name of the part.
    """
    random, compared = parts["baseline"], parts["comparison"]
    within = [row for row in compared if summary.is_within(row)]
    across = [row for row in compared if not summary.is_within(row)]
    gain = recommender.gains(every_start(parts), random)
    known = recommender.facts()
    calibrated = verdicts.calibrate([known[pair]["dpiat"] for pair in gain], list(gain.values()))
    return {
        "networks": {name: sum(p.numel() for p in build(name, 10).parameters()) for name in NETWORKS},
        "seeds": len(SEEDS),
        "starts": sum(len(rows) for rows in parts.values()),
        "core_seconds": core_seconds(parts),
        "reached": summary.reached(within, random),
        "limits": summary.LIMITS,
        "within": summary.methods(within, random),
        "selection": selection(within, random),
        "families": summary.by_family(within, random),
        "across": summary.methods(across, random),
        "half": summary.half_budget(summary.of_method(within, "dpiat"), random),
        "hurt": summary.hurt(compared, random, STEPS),
        "pairs": pairs(within, random),
        "other labels": other_labels(parts["other labels"]),
        "ablations": summary.ablations(parts["ablation"], within),
        "recommender": recommender.compare(gain, known),
        "left out": recommender.left_out(gain, known),
        "left out, any price": recommender.left_out(gain, known, recommender.EVERY),
        "gains": [
            {
                "source": source,
                "target": target,
                "gain": round(value, 4),
                "dpiat": round(known[source, target]["dpiat"], 4),
            }
            for (source, target), value in gain.items()
        ],
        "verdicts": [asdict(each) for each in calibrated],
        "real weights": real_weights(parts["real weights"]),
    }


def selection(rows: Sequence[Row], random: Sequence[Row]) -> dict[str, Any]:
    """Mean accuracies on the pairs that weight selection applies to."""
    chosen = {(row["source"], row["target"]) for row in summary.of_method(rows, "weight selection")}
    found = {}
    own = [*rows, *summary.as_pairs(random, rows)]
    for method in ("random", "iatransfer", "weight selection", "dpiat"):
        lines = [
            [row["probe"], *row["accuracy"].values()]
            for row in summary.of_method(own, method)
            if (row["source"], row["target"]) in chosen
        ]
        means = np.mean(lines, axis=0).tolist()
        found[method] = {"probe": means[0], "accuracy": means[1:]}
    return found


def every_start(parts: Parts) -> list[Row]:
    """Return the starts by `dpiat` from every source; from some of them with more than one seed."""
    rows = [*parts["every source"], *summary.of_method(parts["comparison"], "dpiat")]
    return list({(row["source"], row["target"], row["seed"]): row for row in rows}.values())


def core_seconds(parts: Parts) -> float:
    """Add up what training and probing took, equal starts once."""
    return sum({row["key"]: row["seconds"] for rows in parts.values() for row in rows}.values())


def pairs(rows: Sequence[Row], random: Sequence[Row]) -> list[dict[str, Any]]:
    """Mean accuracy of every pair: from `dpiat`, iatransfer and random parameters."""
    found = []
    for source, target in dict.fromkeys((row["source"], row["target"]) for row in rows):
        line: dict[str, Any] = {"source": source, "target": target}
        for method in ("random", "iatransfer", "dpiat"):
            chosen = [
                row
                for row in (random if method == "random" else rows)
                if row["target"] == target and row["method"] == method and row["source"] in ("", source)
            ]
            line[method] = {
                step: round(mean(accuracy(int(step))(row) for row in chosen), 4) for step in EARLY_AND_LATE
            }
        found.append(line)
    return found


def other_labels(rows: Sequence[Row]) -> dict[str, Any]:
    random = summary.of_method(rows, "random")
    return summary.methods([row for row in rows if row["source"]], random)


def real_weights(rows: Sequence[Row]) -> dict[str, Any]:
    """Every target: its source, and the curve of every method; `dpiat` against the others over all targets."""
    targets = {}
    for name in dict.fromkeys(row["target"] for row in rows):
        mine = [row for row in rows if row["target"] == name]
        targets[name] = {"source": mine[0]["source"], "similarity": mine[0]["similarity"]} | {
            method: summary.curve(summary.of_method(mine, method))
            for method in dict.fromkeys(row["method"] for row in mine)
        }
    ours = summary.of_method(rows, "dpiat")
    last = max(int(step) for step in ours[0]["accuracy"])
    return {
        "targets": targets,
        "against": {
            method: {
                "probe": against(ours, summary.of_method(rows, method), probe, same_source=False),
                str(last): against(ours, summary.of_method(rows, method), accuracy(last), same_source=False),
            }
            for method in ("random", "paper")
        },
    }
