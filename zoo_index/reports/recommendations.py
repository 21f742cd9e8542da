"""A ranking of sources, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zoo_index.recommending.verdicts import USEFUL
from zoo_index.reports.amounts import NUMBERS, count, where
from zoo_index.reports.page import Cell, Page

if TYPE_CHECKING:
    from zoo_index.recommending.answers import Recommendation, Recommendations

__all__ = ["show_recommendations"]

_ROOM = {"params": 90, "paper": 100, "license": 110}
"""Columns of a terminal below which a ranking leaves something out; all of it is in JSON."""


_BENEFIT_STYLE = {"strong": "green", "some": "cyan", "none": "yellow", "likely to hurt": "red"}


def show_recommendations(page: Page, answer: Recommendations) -> None:
    """Print the ranking."""
    target = answer.target
    page.line(
        "target ",
        (target["name"], "bold"),
        f": {count(target['params'])} parameters, {target['layers']} layers, {target['blocks']} blocks",
    )
    rows: list[list[Cell]] = [
        [
            str(result.rank),
            result.name,
            f"{result.similarity:.3f}",
            (result.benefit or "-", _BENEFIT_STYLE.get(result.benefit or "", "")),
            "-" if result.paper_similarity is None else f"{result.paper_similarity:.3f}",
            f"{result.coverage:.1%}",
            count(result.params),
            result.license or "unknown",
            (where(result.available, result.catalogue), "green" if result.available else "dim"),
        ]
        for result in answer.results
    ]
    columns = ("#", "source", "similarity", "benefit", "paper", "coverage", "params", "license", "weights")
    shown = [i for i, name in enumerate(columns) if page.width >= _ROOM.get(name, 0)]
    chosen = [[row[i] for i in shown] for row in rows]
    page.table([columns[i] for i in shown], chosen, NUMBERS, whole=columns)
    _show_verdict(page, answer.results)
    page.line(
        (
            f"measure {answer.measure}; {answer.n_considered} architectures considered, {answer.n_scored} scored "
            f"exactly, {answer.seconds:.2f} s; coverage is the part of the target that a transfer fills",
            "dim",
        )
    )


def _show_verdict(page: Page, results: Sequence[Recommendation]) -> None:
    """Say what to expect of the most useful result, and on what grounds."""
    judged = [result for result in results if result.benefit is not None]
    if not judged:
        return
    best = min(judged, key=lambda result: list(_BENEFIT_STYLE).index(str(result.benefit)))
    benefit = str(best.benefit)
    style = _BENEFIT_STYLE[benefit]
    if benefit not in USEFUL:
        page.line(("no useful source", style), f": expected benefit of the best: {benefit}; {best.evidence}")
    else:
        page.line(f"expected benefit of {best.name}: ", (benefit, style), f"; {best.evidence}")
