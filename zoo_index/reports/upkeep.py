"""What keeps an index and what was found in it, for people."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo_index.catalogues.catalogue import RANKING_DATASET
from zoo_index.foundation.counting import counted
from zoo_index.reports.amounts import NUMBERS, count
from zoo_index.reports.page import Cell, Page

if TYPE_CHECKING:
    from zoo_index.index.history import Difference
    from zoo_index.index.metrics import MetricsReport
    from zoo_index.jobs.refresh import RefreshReport
    from zoo_index.zoo.doctor import Finding
    from zoo_index.zoo.watching import Watched

__all__ = [
    "show_added",
    "show_difference",
    "show_findings",
    "show_metrics",
    "show_refresh",
    "show_status",
    "show_watches",
]

_MOST_NAMES = 40
"""Names of a kind in what people read; JSON has all."""

_MOST_ADDED = 10
"""Names of what was just added."""


_FINDING_STYLE = {"ok": "green", "note": "yellow", "problem": "bold red"}


def show_status(page: Page, status: Mapping[str, Any]) -> None:
    """Print what is in the index."""
    made = status["made_utc"]
    rows = {
        "index": status["index"],
        "networks": f"{status['entries']:,} pretrained, of {counted(status['architectures'], 'architecture')}",
        "made of": f"{counted(status['blocks'], 'different block')}, "
        f"{counted(status['layers'], 'different layer')}",
        "generation": f"{status['generation']}" + (f", made {made:%Y-%m-%d %H:%M} UTC" if made else ""),
    }
    for row in status["catalogues"]:
        version = f" ({row['catalogue_version']})" if row["catalogue_version"] else ""
        rows[f"from {row['catalogue']}"] = counted(row["architectures"], "architecture") + version
    for dataset, n in status["metrics"].items():
        rows[f"results on {dataset}"] = counted(n, "weight set")
    kept = {"failures": "failed", "retired": "gone, kept for zoo index diff", "prepared": "not published yet"}
    rows["also"] = ", ".join(f"{status[key]:,} {what}" for key, what in kept.items() if status[key])
    run = status["last_run"]
    if run:
        rows["last run"] = (
            f"{run['kind']} {run['detail']}: {run['status']}, {run['n_done']:,} of {run['n_planned']:,} done, "
            f"{run['n_failed']:,} failed, started {run['started_utc']:%Y-%m-%d %H:%M} UTC"
        )
    page.pairs((key, value) for key, value in rows.items() if value)
    for failure in status["failed"]:
        page.line(("failed", "red"), f" {failure['catalogue']} {failure['name']}: {failure['error']}")


def show_refresh(page: Page, report: RefreshReport) -> None:
    """Print what a refresh did."""
    if report.from_snapshot:
        page.line("started from the shipped snapshot, which fits the installed timm")
    page.line(
        f"{counted(len(report.new), 'architecture')} new, {len(report.changed):,} changed, "
        f"{report.unchanged:,} unchanged, {len(report.retired):,} retired, {len(report.failed):,} failed; "
        f"{counted(report.entries_changed, 'entry')} changed; "
        f"generation {report.generation}, run {report.run} {report.status}, {report.seconds:.1f} s"
    )
    for old, name in report.renamed.items():
        page.line(f"renamed {old}: {name}")
    for name in report.stale:
        page.line(f"stale {name}: of an older standardization, and its file is gone")
    for name, error in report.failed.items():
        page.line(("failed", "red"), f" {name}: {error}")


def show_added(page: Page, names: Sequence[str], *, are_sources: bool, call: str) -> None:
    """Name what is new after something was added, and say what can be done with it, as `call` calls zoo."""
    if not names:
        return
    shown = sorted(names)[:_MOST_ADDED]
    for name in shown:
        page.line("new ", (name, "bold"))
    if len(names) > len(shown):
        page.line((f"and {len(names) - len(shown):,} more: {call} list", "dim"))
    look = f"next: {call} show {shlex.quote(shown[0])}"
    more = f"; they are sources now: {call} recommend --target myarch.py" if are_sources else ""
    page.line((look + more, "dim"))


def show_watches(page: Page, watches: Sequence[Watched]) -> None:
    """Print what is watched."""
    rows: list[list[Cell]] = [
        [
            each.name,
            count(each.n_params),
            each.best or "-",
            f"{each.similarity:.3f}",
            each.filters.describe() or "-",
            str(each.generation),
        ]
        for each in watches
    ]
    if not rows:
        page.line("nothing is watched; to watch a network: zoo watch add myarch.py")
        return
    columns = ("target", "params", "best source", "similarity", "filters", "generation")
    page.table(
        columns,
        rows,
        NUMBERS,
        whole=("target", "best source"),
        drop=("generation", "filters", "params", "similarity"),
    )


def show_difference(page: Page, found: Difference) -> None:
    """Print what changed between two generations."""
    kinds = [
        (what, kind, getattr(found, prefix + what))
        for what in ("new", "changed", "retired")
        for kind, prefix in (("architecture", ""), ("entry", "entries_"))
    ]
    counts = ", ".join(f"{counted(len(names), kind)} {what}" for what, kind, names in kinds if names)
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
        f" of {counted(report.results, 'weight set')}, {report.matched:,} in the index",
    )
    if report.unmatched:
        shown = ", ".join(report.unmatched[:5])
        rest = f" and {len(report.unmatched) - 5:,} more" if len(report.unmatched) > 5 else ""
        page.line((f"kept, but not in the index: {shown}{rest}", "dim"))
    if report.dataset != RANKING_DATASET:
        page.line((f"kept; sources are ordered by results on {RANKING_DATASET}", "dim"))


def show_findings(page: Page, findings: Iterable[Finding]) -> None:
    """Print what the doctor found."""
    rows: list[list[Cell]] = [
        [finding.topic, (finding.status, _FINDING_STYLE[finding.status]), finding.text] for finding in findings
    ]
    page.table(("topic", "status", "found"), rows)
