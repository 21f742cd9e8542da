"""Prepare what a catalogue lists and the index lacks: standardize it, and keep it for the next generation."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from zoo_index.catalogues.catalogue import Catalogue, CatalogueEntry
from zoo_index.catalogues.description import FEATURES, Description, PassedOver
from zoo_index.database import descriptions, writes
from zoo_index.database.publishing import Listing
from zoo_index.engines import Engine
from zoo_index.foundation.logs import LOGGER
from zoo_index.index.upkeep import Progress
from zoo_index.jobs.lease import Lease
from zoo_index.jobs.workers import Described, standardize_entries

__all__ = ["Staged", "stage"]

_BATCH_SECONDS = 2.0
"""How much work a kill may lose."""


@dataclass
class Staged:
    """What was done for one catalogue.

    Parameters
    ----------
    n_wanted, n_unchanged, n_resumed, n_done : int
        Architectures: to be standardized, those that stand as they are, those that an earlier run had prepared,
        those that were standardized now.
    failed : dict of str to str
        Reason by architecture.
    """

    n_wanted: int = 0
    n_unchanged: int = 0
    n_resumed: int = 0
    n_done: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def stage(
    lease: Lease,
    catalogue: Catalogue,
    version: str,
    listing: Listing,
    engine: Engine,
    *,
    seconds: float | None,
    progress: Progress | None,
) -> Staged:
    """Standardize the architectures of a listing that do not stand in this version yet.

    Parameters
    ----------
    lease : Lease
    catalogue : Catalogue
    version : str
        Of the catalogue, for entries that have no revision of their own.
    listing : Listing
    engine : Engine
        Runs the workers.
    seconds : float, optional
        How long one architecture may take.
    progress : callable, optional

    Returns
    -------
    Staged
    """
    staged = Staged()
    architectures = listing.architectures
    versions = {name: entry.revision or version for name, entry in architectures.items()}
    with lease.writing() as connection:
        if listing.is_whole:
            writes.drop_failures(connection, catalogue.name, architectures)
            descriptions.drop_prepared(connection, catalogue.name, versions)
        stands = descriptions.standing_versions(connection, catalogue.name)
        ready = descriptions.prepared(connection, catalogue.name)
    wanted = []
    for name, entry in architectures.items():
        made = (versions[name], FEATURES)
        if ready.get(name) == made:
            staged.n_resumed += 1
        elif stands.get(name) == made:
            staged.n_unchanged += 1
        else:
            wanted.append(entry)
    staged.n_wanted = len(wanted)
    counts = {"wanted": len(wanted), "unchanged": staged.n_unchanged, "resumed": staged.n_resumed}
    LOGGER.info("catalogue listed", extra={"details": {"catalogue": catalogue.name, "version": version, **counts}})
    if not wanted:
        return staged

    def write(batch: list[tuple[CatalogueEntry, Described]]) -> None:
        described = [result for _, result in batch if isinstance(result, Description)]
        with lease.writing() as connection:
            descriptions.prepare(connection, catalogue.name, versions, described)
            for entry, result in batch:
                if isinstance(result, PassedOver):
                    writes.drop_failure(connection, catalogue.name, entry.architecture)
                elif isinstance(result, str):
                    writes.put_failure(
                        connection, catalogue.name, versions[entry.architecture], entry.architecture, result
                    )
                    staged.failed[entry.architecture] = result
        staged.n_done += len(described)

    pending: list[tuple[CatalogueEntry, Described]] = []
    n_seen = 0
    last_write = time.monotonic()
    try:
        for entry, result in standardize_entries(catalogue, wanted, engine, seconds):
            pending.append((entry, result))
            _log(catalogue, entry, result)
            if time.monotonic() - last_write > _BATCH_SECONDS:
                write(pending)
                pending, last_write = [], time.monotonic()
            n_seen += 1
            if progress:
                progress(f"standardizing {catalogue.name}", n_seen, len(wanted))
    finally:
        if pending:
            write(pending)
    return staged


def _log(catalogue: Catalogue, entry: CatalogueEntry, result: Described) -> None:
    details = {"catalogue": catalogue.name, "architecture": entry.architecture}
    if isinstance(result, str):
        LOGGER.warning("failed", extra={"details": {**details, "reason": result}})
    elif isinstance(result, PassedOver):
        LOGGER.info("passed over", extra={"details": {**details, "reason": result.reason}})
    else:
        LOGGER.debug("standardized", extra={"details": {**details, "fingerprint": result.dpiat.fingerprint[:12]}})
