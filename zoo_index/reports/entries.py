"""Entries of the index, for people and for spreadsheets."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from zoo_index.foundation.counting import counted
from zoo_index.foundation.plain_text import plain
from zoo_index.recommending.answers import STRUCTURES
from zoo_index.reports.amounts import count, where
from zoo_index.reports.page import Page, in_bytes

__all__ = ["csv_lines", "show_entries", "show_entry"]

_DROPPED = (
    *("task", "dataset", "family", "classes", "size", "downloads"),
    *("input", "license", "top1", "params", "weights"),
)
"""Columns that a narrow terminal does without, the first ones first."""

_MOST_OTHERS = 6
"""Other weights of an architecture that are named."""

_BYTES_A_PARAMETER = 4

_CSV = {
    "name": "name",
    "architecture": "architecture",
    "family": "family",
    "catalogue": "catalogue",
    "params": "n_params",
    "input": "input_size",
    "classes": "n_classes",
    "task": "task",
    "dataset": "dataset",
    "license": "license",
    "bytes": "n_bytes",
    "downloads": "downloads",
    "top1": "top1",
    "top5": "top5",
}
"""Columns of CSV, and what they are called in an entry."""


def show_entries(page: Page, entries: Sequence[Mapping[str, Any]], *, settings: str = "") -> None:
    """Print entries, and which settings narrowed them down."""
    header = ["entry", "family", "params", "input", "classes", "task", "dataset", "license", "size", "weights"]
    rows = [
        [
            entry["name"],
            entry["family"] or "-",
            count(entry["n_params"]),
            entry["input_size"] or "-",
            f"{entry['n_classes']:,}" if entry["n_classes"] else "-",
            entry["task"] or "unknown",
            entry["dataset"] or "unknown",
            entry["license"] or "unknown",
            "-" if entry["n_bytes"] is None else in_bytes(entry["n_bytes"]),
            where(entry["available"], entry["catalogue"]),
        ]
        for entry in entries
    ]
    if any(entry["downloads"] is not None for entry in entries):
        header.append("downloads")
        for row, entry in zip(rows, entries, strict=True):
            row.append("-" if entry["downloads"] is None else f"{entry['downloads']:,}")
    if any(entry["top1"] is not None for entry in entries):
        header.append("top1")
        for row, entry in zip(rows, entries, strict=True):
            row.append("-" if entry["top1"] is None else f"{entry['top1']:.1f}%")
    dropped = [column for column in _DROPPED if column in header]
    page.columns(header, rows, drop=dropped, numbers=("params", "size", "downloads", "top1"))
    n = len({entry["architecture_id"] for entry in entries})
    page.line((f"{counted(len(entries), 'entry')} of {counted(n, 'architecture')}", "dim"))
    if settings:
        page.line((f"by your settings: {settings} (zoo settings)", "dim"))


def csv_lines(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """Write entries as CSV with a header, numbers as they are."""
    made = io.StringIO()
    writer = csv.writer(made, lineterminator="\n")
    writer.writerow([*_CSV, "weights"])
    for entry in entries:
        place = where(entry["available"], entry["catalogue"])
        writer.writerow([*(_csv_cell(entry[field]) for field in _CSV.values()), place])
    return made.getvalue().splitlines()


def _csv_cell(value: Any) -> Any:
    """Return a value for CSV; a text that a spreadsheet would compute is marked as text."""
    if not isinstance(value, str):
        return value
    text = plain(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def show_entry(
    page: Page, entry: Mapping[str, Any], *, asked: str, others: Sequence[str], place: str | None, call: str
) -> None:
    """Print what people want to know of one entry.

    Parameters
    ----------
    page : Page
    entry : mapping
    asked : str
        What the user called it.
    others : sequence of str
        Other weights of its architecture.
    place : str or None
        File with its weights on this machine.
    call : str
        How the command line is called for this index.
    """
    name = entry["name"]
    if asked == entry["architecture"] != name:
        page.line(asked, ": the preferred weights are ", (name, "bold"))
    else:
        page.line((name, "bold"))
    family = f" of the family {entry['family']}" if entry["family"] else ""
    accuracy = None
    if entry["top1"] is not None:
        top5 = "" if entry["top5"] is None else f", top-5 {entry['top5']:.1f}%"
        accuracy = f"top-1 {entry['top1']:.1f}%{top5} on ImageNet, as published"
    rows = {
        "network": f"{entry['architecture']}{family}, from {entry['catalogue']}",
        "parameters": f"{count(entry['n_params'])} ({entry['n_params']:,})",
        "input": entry["input_size"],
        "classes": f"{entry['n_classes']:,}" if entry["n_classes"] else None,
        "task": entry["task"],
        "trained on": entry["dataset"],
        "accuracy": accuracy or "not known; to add published results: zoo metrics import FILE",
        "license": entry["license"] or "unknown",
        "weights": _weights(entry, place),
        "downloads": None if entry["downloads"] is None else f"{entry['downloads']:,}",
    }
    page.pairs((key, value) for key, value in rows.items() if value not in (None, ""))
    if others:
        more = f" and {len(others) - _MOST_OTHERS:,} more" if len(others) > _MOST_OTHERS else ""
        see = f"  ({call} list {shlex.quote(entry['architecture'])})" if more else ""
        page.line("other weights of this network: ", ", ".join(others[:_MOST_OTHERS]) + more, (see, "dim"))
    if entry["catalogue"] not in STRUCTURES:
        page.line((f"next: {call} plan --source {shlex.quote(name)} --target YOUR_NETWORK.py", "dim"))


def _weights(entry: Mapping[str, Any], place: str | None) -> str:
    """Say where the weights are, and how large."""
    kind = where(place is not None, entry["catalogue"])
    if kind == "none":
        return "none: only the structure is known"
    if entry["n_bytes"] is None:
        size = f"about {in_bytes(entry['n_params'] * _BYTES_A_PARAMETER)}"
    else:
        size = in_bytes(entry["n_bytes"])
    if place is not None:
        return f"on this machine: {place}"
    if kind == "gone":
        return f"gone: {entry['path'] or 'nobody knows where they were'}"
    return f"to be fetched ({size}) from {entry['hub_id'] or entry['url'] or 'an address that is not known'}"
