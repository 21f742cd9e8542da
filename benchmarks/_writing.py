"""Markdown and plots of what the benchmarks measured (``results/*.json``)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from _common import RESULTS
from matplotlib import pyplot as plt

mpl.use("svg")

DOCS = Path(__file__).parents[1] / "docs"
STYLE = {
    "svg.hashsalt": "zoo",  # the same file for the same figures
    "font.size": 9,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
Row = Sequence[str]


def result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def table(head: Row, rows: Sequence[Row]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def seconds(value: float) -> str:
    if value < 1e-3:
        return f"{value * 1e6:.3g} µs"
    return f"{value * 1e3:.3g} ms" if value < 1 else f"{value:.3g} s"


def megabytes(value: float) -> str:
    return f"{value / 2**20:,.0f} MB"


def with_limit(value: float, limit: float) -> str:
    return f"{seconds(value)} ({seconds(limit)})"


def origin(figures: dict[str, Any], *packages: str) -> str:
    versions = ", ".join(f"{package} {figures['versions'][package]}" for package in packages)
    return f"{figures['made_utc'][:10]}, {figures['cores']} cores, Python {figures['python']}, {versions}."


def keep(figure: Any, name: str) -> None:
    """Write a plot for the documents, the same file for the same figures."""
    (DOCS / "img").mkdir(exist_ok=True)
    figure.savefig(DOCS / "img" / f"{name}.svg", metadata={"Date": None})
    plt.close(figure)


def keep_page(name: str, text: str) -> None:
    """Write a document."""
    (DOCS / f"{name}.md").write_text(text)
