"""What a transfer would do or did, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from transfer.execution.coverage import LEAST_COVERAGE
from zoo_index.recommending.verdicts import outcome, percent, verdict
from zoo_index.reports.amounts import NUMBERS, shape_of, size_of
from zoo_index.reports.page import Cell, Page, Piece

if TYPE_CHECKING:
    from zoo_index.reports.shown import ShownFunction, ShownPlan, ShownReport, ShownTensor

__all__ = ["show_plan", "show_report"]

_STATUS_STYLE = {
    "copied": "green",
    "cropped": "cyan",
    "grown": "yellow",
    "resampled": "magenta",
    "identity": "blue",
    "fresh": "red",
}


_FUNCTION_STYLE = {"equal": "green", "near": "cyan", "other": "yellow", "unknown": "dim"}


_MAX_PARTS = 40
"""Rows of a report that still fit a screen or two."""


def show_plan(page: Page, plan: ShownPlan, *, source: str, target: str, verbose: bool, call: str = "") -> None:
    """Print what a transfer would do, and the command that does it."""
    page.line(
        *_pair(source, target),
        f" by {plan.method}: similarity {plan.similarity:.3f}, "
        f"{percent(plan.coverage)} of the target's parameters would be written",
    )
    _show_supplies(page, plan)
    _show_tensors(page, plan.tensors, verbose=verbose)
    _show_note(page, plan.note)
    if plan.method == "dpiat":
        page.line(outcome(verdict(plan.similarity).benefit, plan.coverage, is_done=False))
    if call and plan.coverage >= LEAST_COVERAGE:
        page.line((f"next: {call}", "dim"))


def show_report(page: Page, report: ShownReport, *, verbose: bool) -> None:
    """Print what a transfer did."""
    page.line(
        *_pair(report.source, report.target),
        f" by {report.method}: similarity {report.similarity:.3f}, "
        f"{percent(report.coverage)} of the target's parameters written, {report.seconds:.2f} s on {report.device}",
    )
    _show_supplies(page, report)
    _show_tensors(page, report.tensors, verbose=verbose)
    if report.function is not None:
        _show_function(page, report.function)
    _show_note(page, report.note)
    if report.method == "dpiat":  # verdicts are of its similarity
        page.line(outcome(verdict(report.similarity).benefit, report.coverage, is_done=True))
    if report.output:
        page.line("saved to ", (report.output, "bold"))
        page.line((f"load it: model.load_state_dict(safetensors.torch.load_file({report.output!r}))", "dim"))


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


def _show_supplies(page: Page, plan: ShownPlan) -> None:
    """Say who supplies what, where there are several sources."""
    for i, supply in enumerate(plan.supplies):
        has = f", {supply.similarity:.0%} of the layers that were left" if i else ""
        page.line("  ", (supply.name, "bold"), f": {percent(supply.coverage)} of the target's parameters{has}")


def _show_note(page: Page, note: str) -> None:
    if note:
        page.line(("Note:", "yellow"), f" {note}")


def _show_tensors(page: Page, tensors: Sequence[ShownTensor], *, verbose: bool) -> None:
    meaning = {
        "copied": "equal shape, copied whole",
        "cropped": "filled from a part of a larger tensor",
        "grown": "filled in part, the rest zero or random",
        "resampled": "filled from the source on another grid",
        "identity": "set to change nothing: the source has no such layer",
        "fresh": "not from the source: stays random",
    }
    rows: list[list[Cell]] = []
    for status, text in meaning.items():
        chosen = [t for t in tensors if t.status == status]
        if not chosen:
            continue
        n_elements = sum(size_of(t.shape) for t in chosen)
        n_written = sum(t.n_written for t in chosen)
        rows.append([str(len(chosen)), (status, _STATUS_STYLE[status]), text, f"{n_elements:,}", f"{n_written:,}"])
    page.table(("tensors", "status", "meaning", "elements", "written"), rows, NUMBERS, drop=("elements",))
    if verbose:
        _show_each(page, tensors)
    else:
        _show_parts(page, tensors)


def _show_each(page: Page, tensors: Sequence[ShownTensor]) -> None:
    rows: list[list[Cell]] = [
        [
            tensor.name,
            shape_of(tensor.shape),
            (tensor.status, _STATUS_STYLE[tensor.status]),
            _fed_by(tensor) or "-",
            shape_of(tensor.source_shape) if tensor.source_shape is not None else "-",
            tensor.reason,
        ]
        for tensor in tensors
    ]
    columns = ("target tensor", "shape", "status", "source tensor", "its shape", "reason")
    names = ("target tensor", "source tensor")
    page.table(columns, rows, whole=names, drop=("reason", "its shape", "shape"))


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
            what += [", "] * bool(what) + [(f"{counts[status]:,} {status}", _STATUS_STYLE[status])]
        n_written = sum(t.n_written for t in members)
        share = n_written / max(sum(size_of(t.shape) for t in members), 1)
        rows.append([part, str(len(members)), what, f"{share:.0%}", _feeding(members) or "-"])
    columns = ("part of the target", "tensors", "what happened", "written", "fed by")
    page.table(columns, rows, NUMBERS, whole=("part of the target",), drop=("tensors",), short={columns[0]: "part"})
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
    return ", ".join(tops[:3]) + (f" and {len(tops) - 3:,} more" if len(tops) > 3 else "")
