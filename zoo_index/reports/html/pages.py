"""The pages that people are given: one of a plan or a transfer, one of a ranking."""

from __future__ import annotations

import platform
import shlex
from collections.abc import Mapping
from importlib import metadata
from math import isfinite
from typing import TYPE_CHECKING, Any

from zoo_index.foundation.plain_text import plain
from zoo_index.recommending.advising import advise
from zoo_index.recommending.verdicts import outcome, verdict
from zoo_index.reports.amounts import where
from zoo_index.reports.html.document import document
from zoo_index.reports.html.drawing import drawn
from zoo_index.reports.outlines import ShownOutline
from zoo_index.reports.shown import ShownPlan, ShownReport

if TYPE_CHECKING:
    from zoo_index.recommending.answers import Recommendation, Recommendations

__all__ = ["plan_page", "ranking_page"]

_BODY = """<header class="top">
<span class="mark"><b>zoo</b> {kind}</span>
<span class="row screen">
<button type="button" id="print">Print</button>
<button type="button" id="theme">Dark</button>
</span>
<h1 id="title"></h1>
<p id="about" class="soft"></p>
</header>
<main>
<noscript><p class="card">This page draws itself: allow it to run its script. It asks no other host.</p></noscript>
</main>"""

_DIAGRAM = ("placing", "diagram_rows", "diagram_columns", "diagram_ribbons", "diagram")
_PARTS = ("model", *_DIAGRAM, "inspector", "filter", "tensors", "parts")

_FACTS = ("n_bytes", "hub_id", "task", "dataset")
"""What is shown of an entry beside what a recommendation says."""


def plan_page(values: Mapping[str, Any], *, source: str, target: str, command: str = "") -> str:
    """Make the page of a plan or a report.

    Parameters
    ----------
    values : mapping
        Its JSON values, with ``outline`` among them (`transfer.planning.outline.outlined`).
    source, target : str
        What they are called.
    command : str
        The command that makes the page again; empty where there is none.

    Returns
    -------
    str
        HTML.

    Raises
    ------
    ValueError
        If the values are not those of a plan or report.
    """
    kind = "transfer" if "seconds" in values else "plan"
    data = {"kind": kind, **_plan_data(values, target), "command": plain(command), "versions": _versions()}
    return document(plain(f"{source} → {target}", 200), _BODY.format(kind=kind), data, parts=(*_PARTS, "report"))


def ranking_page(
    answer: Recommendations,
    *,
    plans: Mapping[str, Mapping[str, Any] | str],
    entries: Mapping[str, Mapping[str, Any]],
    target: str = "",
    command: str = "",
) -> str:
    """Make the page of a ranking.

    Parameters
    ----------
    answer : Recommendations
    plans : mapping
        For some sources the plan as for `plan_page`, or a text that says why there is none.
    entries : mapping
        By name, what the index knows of the sources.
    target : str
        What the user calls the target, for commands; by default its name.
    command : str
        The command that makes the page again; empty where there is none.

    Returns
    -------
    str
        HTML.

    Raises
    ------
    ValueError
        If the values are not those of plans.
    """
    best = advise(answer)
    name = plain(str(answer.target["name"]))
    data = {
        "target": {**answer.target, "name": name},
        "measure": answer.measure,
        "considered": answer.n_considered,
        "scored": answer.n_scored,
        "seconds": answer.seconds,
        "best": best.rank if best else None,
        "benefit": best.benefit if best else None,
        "advice": plain(best.text) if best else "",
        "results": [
            _result_data(result, entries.get(result.name, {}), target or name) for result in answer.results
        ],
        "plans": {
            str(result.rank): plain(plan) if isinstance(plan, str) else _plan_data(plan, name)
            for result in answer.results
            if (plan := plans.get(result.name)) is not None
        },
        "command": plain(command),
        "versions": _versions(),
    }
    title = plain(f"Sources for {name}", 200)
    return document(title, _BODY.format(kind="recommend"), data, parts=(*_PARTS, "ranking"))


def _result_data(result: Recommendation, entry: Mapping[str, Any], target: str) -> dict[str, Any]:
    values = {
        name: plain(value) if isinstance(value, str) else value
        for name, value in (vars(result) | {fact: entry.get(fact) for fact in _FACTS}).items()
    }
    return {
        **values,
        "where": where(result.available, result.catalogue),
        "next": plain(shlex.join(["zoo", "transfer", "--target", target, "--source", result.name])),
    }


def _plan_data(values: Mapping[str, Any], target: str) -> dict[str, Any]:
    shown = ShownReport.from_json(values) if "seconds" in values else ShownPlan.from_json(values)
    data: dict[str, Any] = {
        "method": shown.method,
        "similarity": shown.similarity,
        "coverage": shown.coverage,
        "note": shown.note,
        "function": None,
        "expected": "",
        "evidence": "",
        "drawing": drawn(shown, ShownOutline.from_json(values.get("outline")), target=plain(target)),
    }
    if shown.method == "dpiat":  # benefits are of its similarity
        judged = verdict(shown.similarity)
        data |= {"expected": outcome(judged.benefit, shown.coverage, is_done=isinstance(shown, ShownReport))}
        data["evidence"] = judged.evidence if shown.coverage else ""
    if isinstance(shown, ShownReport):
        data |= {"seconds": shown.seconds, "device": shown.device, "output": shown.output}
        data["function"] = _finite(vars(shown.function)) if shown.function is not None else None
    return data


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out numbers that JSON has no words for, as networks return whose weights hold NaN."""
    odd = {name for name, value in values.items() if isinstance(value, float) and not isfinite(value)}
    return {name: None if name in odd else value for name, value in values.items()}


def _versions() -> dict[str, str]:
    """Return the versions of what results depend on."""
    found = {}
    for name, package in (("zoo", "zoo-index"), ("torch", "torch"), ("timm", "timm")):
        try:
            found[name] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {**found, "Python": platform.python_version()}
