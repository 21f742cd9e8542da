"""Settings and where they come from, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zoo_index.reports.page import Cell, Page

__all__ = ["show_settings"]


def show_settings(page: Page, rows: Sequence[Mapping[str, Any]], *, user: str, is_there: bool) -> None:
    """Print settings; those that something sets stand out."""
    cells: list[list[Cell]] = [
        [
            (row["name"], "bold" if row["place"] else ""),
            _value(row["value"]),
            row["place"] or "default",
            (row["meaning"], "dim"),
        ]
        for row in rows
    ]
    page.table(("setting", "value", "from", "meaning"), cells, whole=("setting",), drop=("meaning",))
    page.line((f"your settings: {user}" + ("" if is_there else " (not there yet)"), "dim"))


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and value >= 10_000:
        return f"{value:,}"
    return "-" if value is None else str(value)
