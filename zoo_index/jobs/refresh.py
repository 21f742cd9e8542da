"""The nightly job: bring the index in line with the catalogues.

Networks are built and standardized in worker processes, which return data; this process alone writes. What is done
is kept in small transactions, out of the sight of readers, so that a refresh that is interrupted goes on from there
next time. In the end one transaction makes all of it visible: readers see the index before the refresh or after it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zoo_index.catalogues.catalogue import listed_catalogues, open_catalogue
from zoo_index.database import writes
from zoo_index.database.publishing import Listing, next_architectures, publish
from zoo_index.engines import Engine
from zoo_index.foundation.logs import LOGGER
from zoo_index.index.upkeep import Embedded, Progress, embed
from zoo_index.jobs.lease import Lease, leased
from zoo_index.jobs.listing import ask_catalogues, outdated_local
from zoo_index.jobs.staging import Staged, stage

if TYPE_CHECKING:
    from zoo_index.database.store import Store

__all__ = ["ITEM_SECONDS", "Progress", "RefreshReport", "refresh"]

WHOLE_CATALOGUE = "*"
"""What stands in place of an architecture where a catalogue could not be listed."""

ITEM_SECONDS = 600.0
"""How long the standardization of one network may take; the slowest of timm takes half a minute."""


@dataclass
class RefreshReport:
    """What a refresh did.

    Parameters
    ----------
    run : int
        Number of the run.
    status : {'done', 'partial'}
        Partial if some architectures or catalogues failed; everything else was done.
    generation : int
        The one that readers see now.
    new, changed, retired : list of str
        Architectures.
    renamed : dict of str to str
    unchanged, resumed : int
        Architectures: those that stand as they are, those that an interrupted run had prepared.
    standardized : int
        Architectures that were standardized now.
    entries_changed : int
    failed : dict of str to str
        Reason by architecture, or by catalogue where that could not be listed.
    stale : list of str
        Local entries of an older standardization whose file is gone.
    embedded : int
        Architectures that got a vector.
    from_snapshot : bool
        Whether the index was started from the shipped snapshot.
    versions : dict of str to str
        Of the catalogues and of what standardizes.
    seconds : float
    """

    run: int = 0
    status: str = "done"
    generation: int = 0
    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    unchanged: int = 0
    resumed: int = 0
    standardized: int = 0
    entries_changed: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)
    embedded: int = 0
    from_snapshot: bool = False
    versions: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def refresh(
    target: Store,
    *,
    engine: Engine,
    only: Sequence[str] = (),
    catalogues: Sequence[str] | None = None,
    seconds: float | None = ITEM_SECONDS,
    progress: Progress | None = None,
) -> RefreshReport:
    """Index what the catalogues list and the index lacks, and retire what they no longer list.

    Local entries that an older version of the standardization made are standardized again from their files.

    Parameters
    ----------
    target : Store
    engine : Engine
        Runs the workers.
    only : sequence of str, optional
        Names of architectures to restrict the refresh to; nothing is retired then.
    catalogues : sequence of str, optional
        Catalogues to read, by default all that list their entries; others stay as they are.
    seconds : float, optional
        How long one architecture may take, where the engine can limit it.
    progress : callable, optional

    Returns
    -------
    RefreshReport

    Raises
    ------
    LeaseHeldError
        If another process is refreshing this index.
    CatalogueError
        If names are asked for, and a catalogue that may have them cannot be listed.
    UnknownNameError
        If a name of `only` is in no catalogue.
    IndexFileError
        If the database cannot be written.
    """
    started = time.perf_counter()
    names = listed_catalogues() if catalogues is None else list(catalogues)
    listed = ask_catalogues(target, names, only)
    versions, listings = listed.versions, listed.listings
    report = RefreshReport(versions=versions, failed=dict(listed.failed))
    detail = ", ".join(only) if only else " ".join(names)
    with leased(target, detail=detail, versions=versions) as lease:
        report.run = lease.run
        with lease.writing() as connection:
            writes.drop_prepared_bases(connection)
            for name, reason in listed.failed.items():
                writes.put_failure(connection, name, versions[name], WHOLE_CATALOGUE, reason)
        if not only:
            local, report.stale = outdated_local(target)
            listings += [Listing("local", local, is_whole=False)] if local else []
        for listing in listings:
            staged = stage(
                lease,
                open_catalogue(listing.catalogue),
                versions.get(listing.catalogue, ""),
                listing,
                engine,
                seconds=seconds,
                progress=progress,
            )
            _add_up(report, staged)
        _publish(target, lease, listings, report, progress)
    report.seconds = time.perf_counter() - started
    return report


def _add_up(report: RefreshReport, staged: Staged) -> None:
    report.unchanged += staged.n_unchanged
    report.resumed += staged.n_resumed
    report.standardized += staged.n_done
    report.failed |= staged.failed


def _publish(
    target: Store, lease: Lease, listings: Sequence[Listing], report: RefreshReport, progress: Progress | None
) -> None:
    """Embed what will stand, then let it stand; again if an addition came in between."""
    embedded: Embedded | None = None
    while True:
        with target.reading() as connection:
            ids = next_architectures(connection, listings)
        embedded = embed(target.reading, lease.writing, ids, progress, embedded)
        with lease.writing() as connection:
            if next_architectures(connection, listings) != ids:
                continue
            changes, generation = publish(connection, listings, basis=embedded.new_basis, run=lease.run)
            report.new, report.changed, report.retired = changes.new, changes.changed, changes.retired
            report.renamed, report.entries_changed = changes.renamed, changes.n_entries
            report.generation, report.embedded = generation, embedded.n
            report.status = "partial" if report.failed else "done"
            lease.end(connection, report.status, **_counts(report))
        LOGGER.info("published", extra={"details": {"run": report.run, "status": report.status, **_counts(report)}})
        return


def _counts(report: RefreshReport) -> dict[str, Any]:
    return {
        "n_planned": report.standardized + len(report.failed),
        "n_done": report.standardized,
        "n_failed": len(report.failed),
        "n_new": len(report.new),
        "n_changed": len(report.changed),
        "n_unchanged": report.unchanged,
        "n_retired": len(report.retired),
        "generation": report.generation,
    }
