"""Tables and sentences for people. Programs get JSON from the records themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo_index._page import Cell, Page, Piece, in_bytes
from zoo_index.answers import RANKING_DATASET, STRUCTURES
from zoo_index.verdicts import USEFUL

if TYPE_CHECKING:
    from zoo_index.answers import Recommendation, Recommendations
    from zoo_index.doctor import Finding
    from zoo_index.index.history import Difference
    from zoo_index.index.refresh import RefreshReport
    from zoo_index.metrics import MetricsReport
    from zoo_index.shown import ShownFunction, ShownPlan, ShownReport, ShownTensor
    from zoo_index.watching import Watched

__all__ = [
    "show_entries",
    "show_entry",
    "show_findings",
    "show_metrics",
    "show_plan",
    "show_recommendations",
    "show_refresh",
    "show_report",
    "show_status",
]

_STATUS_STYLE = {
    "copied": "green",
    "cropped": "cyan",
    "grown": "yellow",
    "resampled": "magenta",
    "identity": "blue",
    "fresh": "red",
}
_NUMBERS = ("#", "similarity", "paper", "coverage", "params", "tensors", "elements", "written")
"""Columns that are aligned to the right."""

_ROOM = {"params": 90, "paper": 100, "license": 110}
"""Columns of a terminal below which a ranking leaves something out; all of it is in JSON."""

_MOST_NAMES = 40
"""Names of a kind in what people read; JSON has all."""

_MAX_PARTS = 40
"""Rows of a report that still fit a screen or two."""

_BENEFIT_STYLE = {"strong": "green", "some": "cyan", "none": "yellow", "likely to hurt": "red"}
_FUNCTION_STYLE = {"equal": "green", "near": "cyan", "other": "yellow", "unknown": "dim"}
_FINDING_STYLE = {"ok": "green", "note": "yellow", "problem": "bold red"}


def show_recommendations(page: Page, answer: Recommendations) -> None:
    """Print the ranking."""
    target = answer.target
    page.line(
        "target ",
        (target["name"], "bold"),
        f": {_count(target['params'])} parameters, {target['layers']} layers, {target['blocks']} blocks",
    )
    rows: list[list[Cell]] = [
        [
            str(result.rank),
            result.name,
            f"{result.similarity:.3f}",
            (result.benefit or "-", _BENEFIT_STYLE.get(result.benefit or "", "")),
            "-" if result.paper_similarity is None else f"{result.paper_similarity:.3f}",
            f"{result.coverage:.1%}",
            _count(result.params),
            result.license or "unknown",
            (_where(result.available, result.catalogue), "green" if result.available else "dim"),
        ]
        for result in answer.results
    ]
    columns = ("#", "source", "similarity", "benefit", "paper", "coverage", "params", "license", "weights")
    shown = [i for i, name in enumerate(columns) if page.width >= _ROOM.get(name, 0)]
    chosen = [[row[i] for i in shown] for row in rows]
    page.table([columns[i] for i in shown], chosen, _NUMBERS, whole=columns)
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


def show_report(page: Page, report: ShownReport, *, verbose: bool) -> None:
    """Print what a transfer did."""
    page.line(
        *_pair(report.source, report.target),
        f" by {report.method}: similarity {report.similarity:.3f}, "
        f"{report.coverage:.1%} of the target's elements written, {report.seconds:.2f} s on {report.device}",
    )
    _show_supplies(page, report)
    _show_tensors(page, report.tensors, verbose=verbose)
    if report.function is not None:
        _show_function(page, report.function)
    _show_note(page, report.note)
    if report.output:
        page.line("saved to ", (report.output, "bold"))


def _pair(source: str, target: str) -> tuple[Piece, ...]:
    return (source, "bold"), " -> ", (target, "bold")


def _show_function(page: Page, function: ShownFunction) -> None:
    """Say whether the target computes what the source does."""
    found = []
    if function.difference is not None:
        size = f"by at most {function.difference:.1g} of the largest"
        found.append(f"outputs differ {size}" if function.difference else "outputs are the same")
    if function.correlation is not None and function.verdict != "equal":
        found.append(f"they correlate by {function.correlation:.2f}")
    found += [function.reason] if function.reason else []
    verdict = (function.verdict, _FUNCTION_STYLE[function.verdict])
    page.line("function  ", verdict, ": " + "; ".join(found) if found else "")


def show_plan(page: Page, plan: ShownPlan, *, source: str, target: str, verbose: bool) -> None:
    """Print what a transfer would do."""
    page.line(
        *_pair(source, target),
        f" by {plan.method}: similarity {plan.similarity:.3f}, "
        f"{plan.coverage:.1%} of the target's elements would be written",
    )
    _show_supplies(page, plan)
    _show_tensors(page, plan.tensors, verbose=verbose)
    _show_note(page, plan.note)


def _show_supplies(page: Page, plan: ShownPlan) -> None:
    """Say who supplies what, where there are several sources."""
    for i, supply in enumerate(plan.supplies):
        has = f", {supply.similarity:.0%} of the layers that were left" if i else ""
        page.line("  ", (supply.name, "bold"), f": {supply.coverage:.1%} of the target's elements{has}")


def _show_note(page: Page, note: str) -> None:
    if note:
        page.line(("Note:", "yellow"), f" {note}")


def _show_tensors(page: Page, tensors: Sequence[ShownTensor], *, verbose: bool) -> None:
    meaning = {
        "copied": "equal shape, copied whole",
        "cropped": "filled from a part of a larger tensor",
        "grown": "filled in part, the rest is zero or keeps its initialisation",
        "resampled": "filled from the source on another grid",
        "identity": "set to change nothing: inserted, or absent in the source",
        "fresh": "not from the source",
    }
    rows: list[list[Cell]] = []
    for status, text in meaning.items():
        chosen = [t for t in tensors if t.status == status]
        n_elements = sum(_size(t.shape) for t in chosen)
        n_written = sum(t.n_written for t in chosen)
        rows.append([str(len(chosen)), (status, _STATUS_STYLE[status]), text, f"{n_elements:,}", f"{n_written:,}"])
    page.table(("tensors", "status", "meaning", "elements", "written"), rows, _NUMBERS)
    if verbose:
        _show_each(page, tensors)
    else:
        _show_parts(page, tensors)


def _show_each(page: Page, tensors: Sequence[ShownTensor]) -> None:
    rows: list[list[Cell]] = [
        [
            tensor.name,
            _shape(tensor.shape),
            (tensor.status, _STATUS_STYLE[tensor.status]),
            _fed_by(tensor) or "-",
            _shape(tensor.source_shape) if tensor.source_shape is not None else "-",
            tensor.reason,
        ]
        for tensor in tensors
    ]
    page.table(("target tensor", "shape", "status", "source tensor", "shape", "reason"), rows)


def _show_parts(page: Page, tensors: Sequence[ShownTensor]) -> None:
    """Print one row per part of the target: the dotted prefixes, as long as they are few enough to read."""
    parts: dict[str, list[ShownTensor]] = {}
    for depth in (3, 2, 1):
        parts = {}
        for tensor in tensors:
            path = tensor.name.split(".")[:-1]
            parts.setdefault(".".join(path[:depth]) or tensor.name, []).append(tensor)
        if len(parts) <= _MAX_PARTS:
            break
    rows: list[list[Cell]] = []
    for part, members in parts.items():
        counts = {status: sum(t.status == status for t in members) for status in _STATUS_STYLE}
        what: list[Piece] = []
        for status in filter(counts.get, counts):
            what += [", "] * bool(what) + [(f"{counts[status]} {status}", _STATUS_STYLE[status])]
        n_written = sum(t.n_written for t in members)
        share = n_written / max(sum(_size(t.shape) for t in members), 1)
        rows.append([part, str(len(members)), what, f"{share:.0%}", _feeding(members)])
    page.table(("part of the target", "tensors", "what happened", "written", "fed by"), rows, _NUMBERS)
    page.line(("every tensor: --verbose or --json", "dim"))


def _fed_by(tensor: ShownTensor) -> str:
    """Name the source tensor, after the network that it belongs to where there are several."""
    return ": ".join(filter(None, (tensor.supplier, tensor.source or "")))


def _feeding(members: Sequence[ShownTensor]) -> str:
    """Name the modules that feed some tensors, after the networks that they belong to where there are several."""
    suppliers = list(dict.fromkeys(t.supplier for t in members if t.source)) or [""]
    return "; ".join(
        ": ".join(
            filter(None, (name, _common_paths([t.source for t in members if t.source and t.supplier == name])))
        )
        for name in suppliers
    )


def _common_paths(names: Sequence[str]) -> str:
    """Shorten source tensors to the modules they lie in, a few of them."""
    paths = list(dict.fromkeys(name.rpartition(".")[0] or name for name in names))
    split = [path.split(".") for path in paths]
    common = []
    for level in zip(*split, strict=False):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    if common:
        return ".".join(common)
    tops = list(dict.fromkeys(path[0] for path in split))
    return ", ".join(tops[:3]) + (f" and {len(tops) - 3} more" if len(tops) > 3 else "")


def show_entries(page: Page, entries: Sequence[Mapping[str, Any]]) -> None:
    """Print entries."""
    header = ["entry", "family", "params", "input", "classes", "task", "dataset", "license", "size", "weights"]
    rows = [
        [
            entry["name"],
            entry["family"] or "-",
            _count(entry["n_params"]),
            entry["input_size"] or "-",
            str(entry["n_classes"] or "-"),
            entry["task"] or "unknown",
            entry["dataset"] or "unknown",
            entry["license"] or "unknown",
            "-" if entry["n_bytes"] is None else in_bytes(entry["n_bytes"]),
            _where(entry["available"], entry["catalogue"]),
        ]
        for entry in entries
    ]
    if any(entry["downloads"] is not None for entry in entries):
        header.append("downloads")
        for row, entry in zip(rows, entries, strict=True):
            row.append("-" if entry["downloads"] is None else f"{entry['downloads']:,}")
    page.columns(header, rows)
    n = len({entry["architecture_id"] for entry in entries})
    page.line((f"{len(entries)} entries of {n} architectures", "dim"))


def _where(is_here: bool, catalogue: str) -> str:
    """Say where weights are; those of a local file that is not here are nowhere else, structures have none."""
    if catalogue in STRUCTURES:
        return "none"
    return "here" if is_here else "gone" if catalogue in ("local", "folder") else "hub"


def show_entry(page: Page, entry: Mapping[str, Any]) -> None:
    """Print one entry in full."""
    page.line((entry["name"], "bold"))
    _show_pairs(page, ((key, value) for key, value in entry.items() if key not in ("name", "id", "position")))


def show_status(page: Page, status: Mapping[str, Any]) -> None:
    """Print what is in the index."""
    _show_pairs(
        page,
        ((key, value) for key, value in status.items() if not isinstance(value, list | dict)),
    )
    for dataset, n in status["metrics"].items():
        page.line(f"results on {dataset}: {n} weight sets")
    for row in status["catalogues"]:
        page.line(f"catalogue {row['catalogue']} {row['catalogue_version']}: {row['architectures']} architectures")
    run = status["last_run"]
    if run:
        page.line(
            f"last run: {run['kind']} {run['detail']}: {run['status']}, "
            f"{run['n_done']} of {run['n_planned']} done, {run['n_failed']} failed, "
            f"started {run['started_utc']} UTC"
        )
    for failure in status["failed"]:
        page.line(("failed", "red"), f" {failure['catalogue']} {failure['name']}: {failure['error']}")


def show_refresh(page: Page, report: RefreshReport) -> None:
    """Print what a refresh did."""
    if report.from_snapshot:
        page.line("started from the shipped snapshot, which fits the installed timm")
    page.line(
        f"{len(report.new)} architectures new, {len(report.changed)} changed, {report.unchanged} unchanged, "
        f"{len(report.retired)} retired, {len(report.failed)} failed; {report.entries_changed} entries changed; "
        f"generation {report.generation}, run {report.run} {report.status}, {report.seconds:.1f} s"
    )
    for old, name in report.renamed.items():
        page.line(f"renamed {old}: {name}")
    for name in report.stale:
        page.line(f"stale {name}: of an older standardization, and its file is gone")
    for name, error in report.failed.items():
        page.line(("failed", "red"), f" {name}: {error}")


def show_watches(page: Page, watches: Sequence[Watched]) -> None:
    """Print what is watched."""
    rows: list[list[Cell]] = [
        [
            each.name,
            _count(each.n_params),
            each.best or "-",
            f"{each.similarity:.3f}",
            each.filters.describe() or "-",
            str(each.generation),
        ]
        for each in watches
    ]
    page.table(("target", "params", "best source", "similarity", "filters", "generation"), rows, _NUMBERS)


def show_difference(page: Page, found: Difference) -> None:
    """Print what changed between two generations."""
    kinds = [
        (what, kind, getattr(found, prefix + what))
        for what in ("new", "changed", "retired")
        for kind, prefix in (("architectures", ""), ("entries", "entries_"))
    ]
    counts = ", ".join(f"{len(names):,} {kind} {what}" for what, kind, names in kinds if names)
    page.line(f"generation {found.since} to {found.until}: {counts or 'nothing changed'}")
    for what, kind, names in kinds:
        for name in names[:_MOST_NAMES]:
            page.line(f"{what:8} {kind:14} {name}")
        if len(names) > _MOST_NAMES:
            page.line((f"{what:8} {kind:14} ... and {len(names) - _MOST_NAMES:,} more: --json", "dim"))


def show_metrics(page: Page, report: MetricsReport) -> None:
    """Print what an import of results did."""
    page.line(
        "results on ",
        (report.dataset, "bold"),
        f" of {report.results} weight sets, {report.matched} in the index",
    )
    if report.unmatched:
        shown = ", ".join(report.unmatched[:5])
        rest = f" and {len(report.unmatched) - 5} more" if len(report.unmatched) > 5 else ""
        page.line((f"kept, but not in the index: {shown}{rest}", "dim"))
    if report.dataset != RANKING_DATASET:
        page.line((f"kept; sources are ordered by results on {RANKING_DATASET}", "dim"))


def show_findings(page: Page, findings: Iterable[Finding]) -> None:
    """Print what the doctor found."""
    rows: list[list[Cell]] = [
        [finding.topic, (finding.status, _FINDING_STYLE[finding.status]), finding.text] for finding in findings
    ]
    page.table(("topic", "status", "found"), rows)


def _show_pairs(page: Page, pairs: Iterable[tuple[str, Any]]) -> None:
    page.pairs((key, "-" if value in (None, "") else str(value)) for key, value in pairs)


def _count(n: int) -> str:
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return str(n)


def _shape(shape: Sequence[int] | None) -> str:
    return "x".join(map(str, shape)) if shape else "scalar"


def _size(shape: Sequence[int]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size
