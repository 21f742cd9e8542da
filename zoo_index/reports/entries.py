"""Entries of the index, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo_index.reports.amounts import count, where
from zoo_index.reports.page import Page, in_bytes

if TYPE_CHECKING:
    pass

__all__ = ["show_entries", "show_entry"]


def show_entries(page: Page, entries: Sequence[Mapping[str, Any]]) -> None:
    """Print entries."""
    header = ["entry", "family", "params", "input", "classes", "task", "dataset", "license", "size", "weights"]
    rows = [
        [
            entry["name"],
            entry["family"] or "-",
            count(entry["n_params"]),
            entry["input_size"] or "-",
            str(entry["n_classes"] or "-"),
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
    page.columns(header, rows)
    n = len({entry["architecture_id"] for entry in entries})
    page.line((f"{len(entries)} entries of {n} architectures", "dim"))


def show_entry(page: Page, entry: Mapping[str, Any]) -> None:
    """Print one entry in full."""
    page.line((entry["name"], "bold"))
    page.pairs(((key, value) for key, value in entry.items() if key not in ("name", "id", "position")))
