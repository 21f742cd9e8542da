"""The nightly job: bring the index in line with the catalogues.

Networks are built and standardized in worker processes, which return data; this process alone writes, in
small transactions. A refresh that is interrupted keeps what it has and goes on from there next time.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zoo_index.catalogues.catalogue import CATALOGUES, Catalogue, CatalogueEntry, open_catalogue
from zoo_index.catalogues.description import FEATURES, Description
from zoo_index.database import descriptions, queries, writes
from zoo_index.engines import Lost, default_processes, open_engine
from zoo_index.errors import UnknownNameError
from zoo_index.index.upkeep import Progress, embed_missing
from zoo_index.index.workers import standardize_entries

if TYPE_CHECKING:
    from zoo_index.database.store import Store

__all__ = ["Progress", "RefreshReport", "refresh"]

_BATCH_SECONDS = 2.0
"""How much work an interrupt may lose."""


@dataclass
class RefreshReport:
    """What a refresh did.

    Parameters
    ----------
    indexed, unchanged, removed : int
        Architectures.
    entries_changed : int
    failed : dict
        Error by architecture.
    embedded : int
        Architectures that got a vector.
    from_snapshot : bool
        Whether the index was started from the shipped snapshot.
    seconds : float
    """

    indexed: int = 0
    unchanged: int = 0
    removed: int = 0
    entries_changed: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    embedded: int = 0
    from_snapshot: bool = False
    seconds: float = 0.0


def refresh(
    target: Store,
    *,
    processes: int | None = None,
    only: Sequence[str] = (),
    catalogues: Sequence[str] = tuple(CATALOGUES),
    progress: Progress | None = None,
) -> RefreshReport:
    """Index what the catalogues list and the index lacks, and drop what they no longer list.

    Parameters
    ----------
    target : Store
    processes : int, optional
        Worker processes; by default one per core.
    only : sequence of str, optional
        Names of architectures to restrict the refresh to; nothing is dropped then.
    catalogues : sequence of str
        Catalogues to read; others stay as they are.
    progress : callable, optional

    Returns
    -------
    RefreshReport

    Raises
    ------
    CatalogueError
        If a catalogue cannot be listed.
    EngineError
        If worker processes cannot be started.
    IndexFileError
        If the database cannot be written.
    """
    started = time.perf_counter()
    report = RefreshReport()
    unknown = set(only)
    listed: set[str] = set()
    for name in catalogues:
        catalogue = open_catalogue(name)
        version = catalogue.version()
        entries = catalogue.entries() if version else []
        listed |= {entry.architecture for entry in entries}
        unknown -= listed
        if only:
            entries = [entry for entry in entries if entry.architecture in only]
        _refresh_catalogue(target, catalogue, version, entries, processes, bool(only), progress, report)
    if unknown:
        name = min(unknown)
        near = difflib.get_close_matches(name, listed, n=3, cutoff=0.5)
        raise UnknownNameError(
            f"expected pretrained architectures of the catalogues, got {name!r}"
            + (f"; did you mean {', '.join(near)}?" if near else "")
        )
    report.embedded = embed_missing(target, progress)
    report.seconds = time.perf_counter() - started
    return report


def _refresh_catalogue(
    target: Store,
    catalogue: Catalogue,
    version: str,
    entries: list[CatalogueEntry],
    processes: int | None,
    partial: bool,
    progress: Progress | None,
    report: RefreshReport,
) -> None:
    representatives: dict[str, CatalogueEntry] = {}
    for entry in entries:
        representatives.setdefault(entry.architecture, entry)
    with target.writing() as connection:
        standing = queries.standing(connection, catalogue.name)
        removed = 0
        if not partial:
            removed = writes.drop_architectures(connection, catalogue.name, representatives)
            writes.drop_failures(connection, catalogue.name, representatives)
            report.removed += removed
        wanted = [e for n, e in representatives.items() if standing.get(n) != (version, FEATURES)]
        report.unchanged += len(representatives) - len(wanted)
        changed = writes.put_entries(connection, catalogue.name, entries, partial=partial)
        report.entries_changed += changed
        if removed:
            writes.drop_unused(connection)
        if removed or changed:
            writes.raise_generation(connection)
        run = writes.start_run(connection, "refresh", len(wanted), f"{catalogue.name} {version}") if wanted else 0
    if not wanted:
        return
    n_done = n_failed = 0
    status = "interrupted"

    def write(batch: list[tuple[CatalogueEntry, Description | str]]) -> None:
        nonlocal n_done, n_failed
        with target.writing() as connection:
            described = [result for _, result in batch if isinstance(result, Description)]
            descriptions.put_descriptions(connection, catalogue.name, version, described)
            n_done += len(described)
            for entry, result in batch:
                if isinstance(result, str):
                    writes.put_failure(connection, catalogue.name, version, entry.architecture, result)
                    report.failed[entry.architecture] = result
                    n_failed += 1
            report.entries_changed += writes.put_entries(connection, catalogue.name, entries, partial=partial)
            writes.raise_generation(connection)

    pending: list[tuple[CatalogueEntry, Description | str]] = []
    last_write = time.monotonic()
    try:
        n_workers = processes or default_processes()
        here = n_workers == 1 or len(wanted) <= n_workers  # too few to be worth starting workers
        with open_engine("inline") if here else open_engine("local", n_workers) as engine:
            for entry, result in standardize_entries(catalogue, wanted, engine):
                pending.append((entry, result.reason if isinstance(result, Lost) else result))
                if time.monotonic() - last_write > _BATCH_SECONDS:
                    write(pending)
                    pending, last_write = [], time.monotonic()
                if progress:
                    progress(f"standardizing {catalogue.name}", n_done + n_failed + len(pending), len(wanted))
        status = "done"
    finally:
        if pending:
            write(pending)
        report.indexed += n_done
        with target.writing() as connection:
            if standing and n_done:  # architectures were replaced, so blocks may have lost their last user
                writes.drop_unused(connection)
            writes.end_run(connection, run, status, n_done, n_failed)
