"""Figures of a refresh for Prometheus, in a file that its node exporter reads (the textfile collector).

Format: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfer.errors import OutputError
from transfer.weights.files import replacing

if TYPE_CHECKING:
    from zoo_index.jobs.refresh import RefreshReport

__all__ = ["write_failure", "write_metrics"]


def write_metrics(path: Path, report: RefreshReport, status: Mapping[str, Any]) -> None:
    """Write the figures of a refresh, and of the index after it; the file is replaced whole.

    Parameters
    ----------
    path : Path
        Ends in ``.prom``, else the collector does not read it.
    report : RefreshReport
    status : mapping
        As `Keeper.status` returns it.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    figures = {
        "refresh_success": ("1 if every architecture could be standardized", report.status == "done"),
        "refresh_duration_seconds": ("time the last refresh took", report.seconds),
        "refresh_timestamp_seconds": ("when the last refresh ended, in seconds since 1970", _ended(status)),
        "refresh_new": ("architectures that the last refresh found", len(report.new)),
        "refresh_changed": ("architectures that had another structure", len(report.changed)),
        "refresh_unchanged": ("architectures that stood as they were", report.unchanged),
        "refresh_retired": ("architectures that are no longer listed", len(report.retired)),
        "refresh_failed": ("architectures that could not be standardized", len(report.failed)),
        "index_generation": ("generation that readers see", report.generation),
        "index_architectures": ("architectures in the index", status["architectures"]),
        "index_entries": ("weight sets in the index", status["entries"]),
    }
    _write(path, figures)


def write_failure(path: Path) -> None:
    """Write that a refresh did not come to its end; the figures of the index are left out.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    _write(
        path,
        {
            "refresh_success": ("1 if every architecture could be standardized", False),
            "refresh_timestamp_seconds": ("when the last refresh ended, in seconds since 1970", time.time()),
        },
    )


def _write(path: Path, figures: Mapping[str, tuple[str, float]]) -> None:
    lines = []
    for name, (what, value) in figures.items():
        lines += [f"# HELP zoo_{name} {what}", f"# TYPE zoo_{name} gauge", f"zoo_{name} {float(value):.15g}"]
    try:
        with replacing(path) as temporary:
            temporary.write_text("\n".join(lines) + "\n")
    except OSError as error:
        raise OutputError(
            f"expected to write '{path}', got: {error.strerror or error}; choose another file with --metrics-file"
        ) from error


def _ended(status: Mapping[str, Any]) -> float:
    run = status["last_run"]
    return float(run["finished_utc"].replace(tzinfo=UTC).timestamp())
