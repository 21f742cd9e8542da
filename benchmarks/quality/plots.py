"""Plots of docs/quality.md."""

from __future__ import annotations

from typing import Any

from _writing import STYLE, keep
from matplotlib import pyplot as plt

from quality.networks import family

SHOWN = ("random", "same name", "iatransfer", "dpiat")
COLOURS = dict(zip(SHOWN, ("tab:gray", "tab:olive", "tab:orange", "tab:blue"), strict=True))


def draw(found: dict[str, Any]) -> None:
    """Draw all plots."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(8, 3))
        curves(axes[0], found["within"], "all pairs of one family")
        curves(axes[1], found["other labels"], "other labels")
        axes[0].legend(frameon=False, loc="lower right")
        figure.tight_layout()
        keep(figure, "quality")
        names = list(found["families"])
        figure, axes = plt.subplots(1, len(names), figsize=(10, 2.6), sharey=True)
        for axis, name in zip(axes, names, strict=True):
            curves(axis, found["families"][name], name)
            axis.label_outer()
        axes[0].legend(frameon=False)
        figure.tight_layout()
        keep(figure, "quality-families")
        gains(found)


def curves(axis: Any, methods: dict[str, Any], title: str) -> None:
    for name in filter(methods.__contains__, SHOWN):
        own = methods[name]["accuracy"]
        steps = [int(step) for step in own]
        axis.plot(steps, [each["mean"] for each in own.values()], label=name, color=COLOURS[name])
        low, high = zip(*(each["interval"] for each in own.values()), strict=True)
        axis.fill_between(steps, low, high, color=COLOURS[name], alpha=0.15, linewidth=0)
    axis.set_xscale("symlog", linthresh=10)
    axis.set_xticks([0, 10, 100, 400] if steps[-1] > 100 else [0, 10, 100], labels=None)
    axis.set_xlim(0, steps[-1])
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:.0f}")
    axis.set_xlabel("step")
    axis.set_ylabel("accuracy")
    axis.set_title(title, fontsize=9)


def gains(found: dict[str, Any]) -> None:
    figure, axis = plt.subplots(figsize=(6, 3.2))
    for is_within, label in ((False, "across families"), (True, "one family")):
        chosen = [e for e in found["gains"] if (family(e["source"]) == family(e["target"])) == is_within]
        axis.scatter([e["dpiat"] for e in chosen], [e["gain"] for e in chosen], s=9, label=label)
    axis.axhline(1, color="tab:gray", linewidth=0.8)
    axis.set_xlabel("similarity (dpiat)")
    axis.set_ylabel("accuracy in 100 steps, times random")
    axis.legend(frameon=False)
    figure.tight_layout()
    keep(figure, "quality-gain")
