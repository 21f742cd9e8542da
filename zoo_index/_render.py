"""Tables and sentences for people. Programs get JSON from the records themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from zoo_index.answers import RANKING_DATASET
from zoo_index.verdicts import USEFUL

if TYPE_CHECKING:
    from zoo_index.answers import Recommendation, Recommendations
    from zoo_index.doctor import Finding
    from zoo_index.index.refresh import RefreshReport
    from zoo_index.metrics import MetricsReport
    from zoo_index.shown import ShownFunction, ShownPlan, ShownReport, ShownTensor

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
_MAX_PARTS = 40
"""Rows of a report that still fit a screen or two."""

_BENEFIT_STYLE = {"strong": "green", "some": "cyan", "none": "yellow", "likely to hurt": "red"}
_FUNCTION_STYLE = {"equal": "green", "near": "cyan", "other": "yellow", "unknown": "dim"}
_FINDING_STYLE = {"ok": "green", "note": "yellow", "problem": "bold red"}


def show_recommendations(console: Console, answer: Recommendations) -> None:
    """Print the ranking."""
    target = answer.target
    console.print(
        f"target [bold]{target['name']}[/]: {_count(target['params'])} parameters, "
        f"{target['layers']} layers, {target['blocks']} blocks"
    )
    table = _table("#", "source", "similarity", "benefit", "paper", "coverage", "params", "license", "weights")
    for result in answer.results:
        here = Text("here", "green") if result.available else Text("hub", "dim")
        table.add_row(
            str(result.rank),
            result.name,
            f"{result.similarity:.3f}",
            Text(result.benefit or "-", _BENEFIT_STYLE.get(result.benefit or "", "")),
            "-" if result.paper_similarity is None else f"{result.paper_similarity:.3f}",
            f"{result.coverage:.1%}",
            _count(result.params),
            result.license or "unknown",
            here,
        )
    console.print(table)
    _show_verdict(console, answer.results)
    console.print(
        f"[dim]measure {answer.measure}; {answer.n_considered} architectures considered, {answer.n_scored} scored "
        f"exactly, {answer.seconds:.2f} s; coverage is the part of the target that a transfer fills[/]"
    )


def _show_verdict(console: Console, results: Sequence[Recommendation]) -> None:
    """Say what to expect of the most useful result, and on what grounds."""
    judged = [result for result in results if result.benefit is not None]
    if not judged:
        return
    best = min(judged, key=lambda result: list(_BENEFIT_STYLE).index(str(result.benefit)))
    style = _BENEFIT_STYLE[str(best.benefit)]
    if best.benefit not in USEFUL:
        console.print(
            f"[{style}]no useful source[/]: expected benefit of the best: {best.benefit}; {best.evidence}"
        )
    else:
        console.print(f"expected benefit of {best.name}: [{style}]{best.benefit}[/]; {best.evidence}")


def show_report(console: Console, report: ShownReport, *, verbose: bool) -> None:
    """Print what a transfer did."""
    console.print(
        f"[bold]{report.source}[/] -> [bold]{report.target}[/] by {report.method}: "
        f"similarity {report.similarity:.3f}, "
        f"{report.coverage:.1%} of the target's elements written, {report.seconds:.2f} s on {report.device}"
    )
    _show_tensors(console, report.tensors, verbose=verbose)
    if report.function is not None:
        _show_function(console, report.function)
    _show_note(console, report.note)
    if report.output:
        console.print(f"saved to [bold]{report.output}[/]")


def _show_function(console: Console, function: ShownFunction) -> None:
    """Say whether the target computes what the source does."""
    found = []
    if function.difference is not None:
        size = f"by at most {function.difference:.1g} of the largest"
        found.append(f"outputs differ {size}" if function.difference else "outputs are the same")
    if function.correlation is not None and function.verdict != "equal":
        found.append(f"they correlate by {function.correlation:.2f}")
    found += [function.reason] if function.reason else []
    line = Text.assemble("function  ", (function.verdict, _FUNCTION_STYLE[function.verdict]))
    console.print(line.append(": " + "; ".join(found) if found else ""))


def show_plan(console: Console, plan: ShownPlan, *, source: str, target: str, verbose: bool) -> None:
    """Print what a transfer would do."""
    console.print(
        f"[bold]{source}[/] -> [bold]{target}[/] by {plan.method}: similarity {plan.similarity:.3f}, "
        f"{plan.coverage:.1%} of the target's elements would be written"
    )
    _show_tensors(console, plan.tensors, verbose=verbose)
    _show_note(console, plan.note)


def _show_note(console: Console, note: str) -> None:
    if note:
        console.print(f"[yellow]Note:[/] {note}")


def _show_tensors(console: Console, tensors: Sequence[ShownTensor], *, verbose: bool) -> None:
    meaning = {
        "copied": "equal shape, copied whole",
        "cropped": "filled from a part of a larger tensor",
        "grown": "filled in part, the rest is zero or keeps its initialisation",
        "resampled": "filled from the source on another grid",
        "identity": "set to change nothing: inserted, or absent in the source",
        "fresh": "not from the source",
    }
    summary = _table("tensors", "status", "meaning", "elements", "written")
    for status, text in meaning.items():
        chosen = [t for t in tensors if t.status == status]
        n_elements = sum(_size(t.shape) for t in chosen)
        n_written = sum(t.n_written for t in chosen)
        summary.add_row(
            str(len(chosen)), Text(status, _STATUS_STYLE[status]), text, f"{n_elements:,}", f"{n_written:,}"
        )
    console.print(summary)
    if verbose:
        _show_each(console, tensors)
    else:
        _show_parts(console, tensors)


def _show_each(console: Console, tensors: Sequence[ShownTensor]) -> None:
    table = _table("target tensor", "shape", "status", "source tensor", "shape", "reason")
    for tensor in tensors:
        table.add_row(
            tensor.name,
            _shape(tensor.shape),
            Text(tensor.status, _STATUS_STYLE[tensor.status]),
            tensor.source or "-",
            _shape(tensor.source_shape) if tensor.source_shape is not None else "-",
            tensor.reason,
        )
    console.print(table)


def _show_parts(console: Console, tensors: Sequence[ShownTensor]) -> None:
    """Print one row per part of the target: the dotted prefixes, as long as they are few enough to read."""
    parts: dict[str, list[ShownTensor]] = {}
    for depth in (3, 2, 1):
        parts = {}
        for tensor in tensors:
            path = tensor.name.split(".")[:-1]
            parts.setdefault(".".join(path[:depth]) or tensor.name, []).append(tensor)
        if len(parts) <= _MAX_PARTS:
            break
    table = _table("part of the target", "tensors", "what happened", "written", "fed by")
    for part, members in parts.items():
        counts = {status: sum(t.status == status for t in members) for status in _STATUS_STYLE}
        what = Text(", ").join(Text(f"{n} {status}", _STATUS_STYLE[status]) for status, n in counts.items() if n)
        n_written = sum(t.n_written for t in members)
        share = n_written / max(sum(_size(t.shape) for t in members), 1)
        sources = _common_paths([t.source for t in members if t.source])
        table.add_row(part, str(len(members)), what, f"{share:.0%}", sources)
    console.print(table)
    console.print("[dim]every tensor: --verbose or --json[/]")


def _common_paths(names: Sequence[str]) -> str:
    """Shorten source tensors to the modules they lie in, a few of them."""
    if not names:
        return "-"
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


def show_entries(console: Console, entries: Sequence[Mapping[str, Any]]) -> None:
    """Print entries, in plain columns: laying out two thousand rows as a rich table takes seconds."""
    header = ("entry", "family", "params", "input", "classes", "license", "weights")
    rows = [
        header,
        *(
            (
                entry["name"],
                entry["family"] or "-",
                _count(entry["n_params"]),
                entry["input_size"] or "-",
                str(entry["n_classes"] or "-"),
                entry["license"] or "unknown",
                "here" if entry["available"] else "hub",
            )
            for entry in entries
        ),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    print("\n".join(lines), file=console.file)
    n = len({entry["architecture_id"] for entry in entries})
    console.print(f"[dim]{len(entries)} entries of {n} architectures[/]")


def show_entry(console: Console, entry: Mapping[str, Any]) -> None:
    """Print one entry in full."""
    console.print(f"[bold]{entry['name']}[/]")
    _show_pairs(console, ((key, value) for key, value in entry.items() if key not in ("name", "id", "position")))


def show_status(console: Console, status: Mapping[str, Any]) -> None:
    """Print what is in the index."""
    _show_pairs(
        console,
        ((key, value) for key, value in status.items() if not isinstance(value, list | dict)),
    )
    for dataset, n in status["metrics"].items():
        console.print(f"results on {dataset}: {n} weight sets")
    for row in status["catalogues"]:
        console.print(
            f"catalogue {row['catalogue']} {row['catalogue_version']}: {row['architectures']} architectures"
        )
    run = status["last_run"]
    if run:
        console.print(
            f"last run: {run['kind']} {run['detail']}: {run['status']}, "
            f"{run['n_done']} of {run['n_planned']} done, {run['n_failed']} failed, "
            f"started {run['started_utc']} UTC"
        )
    for failure in status["failed"]:
        console.print(f"[red]failed[/] {failure['catalogue']} {failure['name']}: {failure['error']}")


def show_refresh(console: Console, report: RefreshReport) -> None:
    """Print what a refresh did."""
    if report.from_snapshot:
        console.print("started from the shipped snapshot, which fits the installed timm")
    console.print(
        f"{report.indexed} architectures indexed, {report.unchanged} unchanged, {report.removed} removed, "
        f"{len(report.failed)} failed; {report.entries_changed} entries changed; {report.seconds:.1f} s"
    )
    for name, error in report.failed.items():
        console.print(f"[red]failed[/] {name}: {error}")


def show_metrics(console: Console, report: MetricsReport) -> None:
    """Print what an import of results did."""
    console.print(
        f"results on [bold]{report.dataset}[/] of {report.results} weight sets, {report.matched} in the index"
    )
    if report.unmatched:
        shown = ", ".join(report.unmatched[:5])
        rest = f" and {len(report.unmatched) - 5} more" if len(report.unmatched) > 5 else ""
        console.print(f"[dim]kept, but not in the index: {shown}{rest}[/]")
    if report.dataset != RANKING_DATASET:
        console.print(f"[dim]kept; sources are ordered by results on {RANKING_DATASET}[/]")


def show_findings(console: Console, findings: Iterable[Finding]) -> None:
    """Print what the doctor found."""
    table = _table("topic", "status", "found")
    for finding in findings:
        table.add_row(finding.topic, Text(finding.status, _FINDING_STYLE[finding.status]), finding.text)
    console.print(table)


def _show_pairs(console: Console, pairs: Iterable[tuple[str, Any]]) -> None:
    table = Table.grid(padding=(0, 2))
    for key, value in pairs:
        table.add_row(Text(key, "dim"), "-" if value in (None, "") else str(value))
    console.print(table)


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        is_number = column in ("#", "similarity", "paper", "coverage", "params", "tensors", "elements", "written")
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    return table


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
