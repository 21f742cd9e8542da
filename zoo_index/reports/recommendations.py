"""A ranking of sources, for people."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from zoo_index.foundation.counting import counted, noun
from zoo_index.recommending.advising import Advice, advise
from zoo_index.recommending.verdicts import percent
from zoo_index.reports.amounts import NUMBERS, count, made_of, where
from zoo_index.reports.page import Cell, Page

if TYPE_CHECKING:
    from zoo_index.recommending.answers import Recommendations

__all__ = ["show_recommendations"]

_DROPPED = ("license", "paper", "params", "weights", "benefit")
"""Columns that a narrow terminal does without, the first ones first; all of it is in JSON."""

_SHORT = {"similarity": "simil.", "coverage": "fills", "weights": "at"}

_MEANINGS = {
    "similarity": "how alike the networks are, from 0 to 1; the list is in its order",
    "benefit": "what to expect of a transfer: strong, some, none, likely to hurt",
    "paper": "the similarity as it was published; - where only a weights file is known",
    "coverage": "the part of your network that a transfer fills",
    "weights": "here: on this machine; hub: to be fetched; gone: the file is missing; none: no weights",
}
"""What the columns mean."""


_BENEFIT_STYLE = {"strong": "green", "some": "cyan", "none": "yellow", "likely to hurt": "red"}


def show_recommendations(
    page: Page, answer: Recommendations, *, explain: bool = False, call: str = "", settings: str = ""
) -> None:
    """Print the ranking, and in one line what to make of it.

    Parameters
    ----------
    page : Page
    answer : Recommendations
    explain : bool
        Also say what that rests on, and what the columns mean.
    call : str
        The command that transfers, without its source, to show what to do next.
    settings : str
        Options that settings gave, which may have narrowed down the answer.
    """
    target = answer.target
    page.line(
        "target ",
        (target["name"], "bold"),
        f": {count(target['params'])} {noun(target['params'], 'parameter')}, {counted(target['layers'], 'layer')}, "
        f"{made_of(target['blocks'], target.get('single_layers', 0))}",
    )
    rows: list[list[Cell]] = [
        [
            str(result.rank),
            result.name,
            f"{result.similarity:.3f}",
            (result.benefit or "-", _BENEFIT_STYLE.get(result.benefit or "", "")),
            "-" if result.paper_similarity is None else f"{result.paper_similarity:.3f}",
            percent(result.coverage),
            count(result.params),
            result.license or "unknown",
            (where(result.available, result.catalogue), "green" if result.available else "dim"),
        ]
        for result in answer.results
    ]
    columns = ("#", "source", "similarity", "benefit", "paper", "coverage", "params", "license", "weights")
    page.table(columns, rows, NUMBERS, whole=("source",), drop=_DROPPED, short=_SHORT)
    if settings:
        page.line((f"by your settings: {settings} (zoo settings)", "dim"))
    best = advise(answer)
    if explain:
        _explain(page, answer, best)
    if best is None:
        page.line(("--explain says what the columns mean", "dim"))
        return
    page.line((best.text, f"bold {_BENEFIT_STYLE[best.benefit]}"))
    hints = [] if explain else ["why: --explain"]
    hints += [f"next: {call} --source {shlex.quote(best.source)}"] if call and best.is_useful else []
    if hints:
        page.line(("; ".join(hints), "dim"))


def _explain(page: Page, answer: Recommendations, best: Advice | None) -> None:
    page.pairs(_MEANINGS.items())
    scored = "all" if answer.n_scored == answer.n_considered else f"{answer.n_scored:,} of them"
    page.line(
        f"{counted(answer.n_considered, 'architecture')} {'was' if answer.n_considered == 1 else 'were'} "
        f"considered, {scored} compared exactly by the measure {answer.measure}, in {answer.seconds:.2f} s"
    )
    if best is not None:
        evidence = next(result.evidence for result in answer.results if result.rank == best.rank)
        page.line(f"benefit of {best.source}: {best.benefit}; {evidence}")
