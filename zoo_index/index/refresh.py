"""The nightly job: bring the index in line with the catalogues.

Networks are built and standardized in worker processes, which return data; this process alone writes, in
small transactions. A refresh that is interrupted keeps what it has and goes on from there next time.
"""

from __future__ import annotations

import difflib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from zoo_index.catalogues.catalogue import CATALOGUES, Catalogue, CatalogueEntry, open_catalogue
from zoo_index.catalogues.description import FEATURES, Description
from zoo_index.database import loading, queries, writes
from zoo_index.errors import CatalogueError, UnknownNameError
from zoo_index.index import embedding

if TYPE_CHECKING:
    from zoo_index.database.store import Store

__all__ = ["RefreshReport", "default_processes", "embed_missing", "refresh", "standardize_entries"]

Progress = Callable[[str, int, int], None]
"""Called with a phase, the number done and the number planned."""

_BATCH_SECONDS = 2.0
"""How much work an interrupt may lose."""

_REFIT_FRACTION = 0.1
"""Share of new architectures above which the landmarks may no longer be spread over the zoo."""

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")


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


def default_processes() -> int:
    """One worker per core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


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
        If a catalogue cannot be listed, or worker processes die.
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
        if not partial:
            removed = writes.drop_architectures(connection, catalogue.name, representatives)
            report.removed += removed
            if removed:
                writes.raise_generation(connection)
        wanted = [e for n, e in representatives.items() if standing.get(n) != (version, FEATURES)]
        report.unchanged += len(representatives) - len(wanted)
        report.entries_changed += writes.put_entries(connection, catalogue.name, entries, partial=partial)
        run = writes.start_run(connection, "refresh", len(wanted), f"{catalogue.name} {version}") if wanted else 0
    if not wanted:
        return
    n_done = n_failed = 0
    status = "interrupted"

    def write(batch: list[tuple[CatalogueEntry, Description | str]]) -> None:
        nonlocal n_done, n_failed
        with target.writing() as connection:
            for entry, result in batch:
                if isinstance(result, Description):
                    writes.put_description(connection, catalogue.name, version, result)
                    n_done += 1
                else:
                    writes.put_failure(connection, catalogue.name, version, entry.architecture, result)
                    report.failed[entry.architecture] = result
                    n_failed += 1
            report.entries_changed += writes.put_entries(connection, catalogue.name, entries, partial=partial)
            writes.raise_generation(connection)

    pending: list[tuple[CatalogueEntry, Description | str]] = []
    last_write = time.monotonic()
    try:
        for entry, result in standardize_entries(catalogue, wanted, processes or default_processes()):
            pending.append((entry, result))
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
            writes.end_run(connection, run, status, n_done, n_failed)


def standardize_entries(
    catalogue: Catalogue, entries: Sequence[CatalogueEntry], processes: int
) -> Iterator[tuple[CatalogueEntry, Description | str]]:
    """Describe entries in worker processes, in any order; an error comes back as its text.

    Raises
    ------
    CatalogueError
        If a worker process dies; what was returned until then stands.
    """
    if processes <= 1 or len(entries) <= processes:
        for entry in entries:
            yield entry, describe_safely(catalogue.name, entry)
        return
    from loky import ProcessPoolExecutor
    from loky.process_executor import BrokenProcessPool

    env = {**os.environ, **dict.fromkeys(_THREAD_VARIABLES, "1")}
    pool = ProcessPoolExecutor(processes, env=env)
    waiting = iter(entries)
    running: dict[Future[Description | str], CatalogueEntry] = {}
    try:
        while True:
            for entry in waiting:
                running[pool.submit(describe_safely, catalogue.name, entry)] = entry
                if len(running) >= 4 * processes:
                    break
            if not running:
                break
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                result = future.result()  # raises while the entry still counts as running
                yield running.pop(future), result
    except BrokenProcessPool as error:
        names = ", ".join(entry.architecture for entry in running.values())
        raise CatalogueError(
            f"expected the worker processes to live, one died while building one of: {names}; "
            "what was finished is kept; run it again, with --processes 1 to see which one it is"
        ) from error
    finally:
        pool.shutdown(wait=False, kill_workers=True)


def describe_safely(catalogue_name: str, entry: CatalogueEntry) -> Description | str:
    """Describe one entry; any exception of its code comes back as text."""
    try:
        return open_catalogue(catalogue_name).describe(entry)
    except Exception as error:  # code of whatever network: it may raise anything
        return f"{type(error).__name__}: {error}"


def embed_missing(target: Store, progress: Progress | None = None) -> int:
    """Give every architecture its source-side vector.

    A few new ones are projected onto the landmarks there are; when more than a tenth of the index is new,
    landmarks are chosen again.

    Returns
    -------
    int
        Number of architectures that got a vector.
    """
    with target.reading() as connection:
        table = loading.load_table(connection, "dpiat")
        embedded = loading.embedded_ids(connection)
        basis = loading.load_basis(connection, embedding.MEASURE)
        load = loading.loader(connection)
        missing = np.setdiff1d(table.ids, embedded)

        is_refit = (
            basis is None
            or len(missing) > _REFIT_FRACTION * len(table.ids)
            or not np.isin(basis.landmark_ids, table.ids).all()
        )
        if not len(table.ids) or not (is_refit or len(missing)):
            return 0

        def report(done: int, planned: int) -> None:
            if progress:
                progress("embedding", done, planned)

        if basis is None or is_refit:
            landmark_ids, known = embedding.choose_landmarks(table, load)
            basis, vectors = embedding.fit(table, load, landmark_ids, known, report)
            ids = table.ids
        else:
            landmarks = [load(id_) for id_ in basis.landmark_ids.tolist()]
            vectors = embedding.source_vectors([load(id_) for id_ in missing.tolist()], basis, landmarks)
            ids = missing
    by_id = dict(zip(ids.tolist(), vectors, strict=True))
    with target.writing() as connection:
        if is_refit:
            writes.put_basis(connection, embedding.MEASURE, basis.landmark_ids.tolist(), basis.projection)
        writes.put_vectors(connection, by_id)
        writes.raise_generation(connection)
    return len(by_id)
