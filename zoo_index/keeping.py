"""The keeping of an index: filling it, refreshing it, looking at it, checking it.

What needs the matcher, and with it numpy and numba, is imported where it is needed: listing entries must not
wait for a compiler.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_index.database import queries
from zoo_index.database.store import Store
from zoo_index.entries import Entries
from zoo_index.errors import EmptyIndexError
from zoo_index.weights import Availability

if TYPE_CHECKING:
    from zoo_index.index.refresh import Progress, RefreshReport
    from zoo_index.index.search import Search
    from zoo_index.metrics import MetricsReport

__all__ = ["Keeper"]


class Keeper:
    """Keeps an index of pretrained networks.

    Parameters
    ----------
    path : Path
        Of the database, which is made when it is first needed.
    """

    def __init__(self, path: Path) -> None:
        self.store = Store(path)
        self._entries = Entries(self.store)

    @cached_property
    def search(self) -> Search:
        """The index in memory."""
        from zoo_index.index.search import Search

        return Search(self.store)

    def ensure(self) -> None:
        """Make sure that there is something to recommend: a missing index starts from the shipped snapshot.

        Raises
        ------
        EmptyIndexError
            If there is no index and no snapshot that fits the installed timm.
        """
        self._start_from_snapshot()
        if not self._entries.n_architectures():
            raise EmptyIndexError(
                f"expected an index of pretrained networks, '{self.store.path}' holds none and no shipped snapshot "
                "fits the installed timm; run: zoo index refresh"
            )

    def refresh(
        self,
        *,
        processes: int | None = None,
        only: Sequence[str] = (),
        use_snapshot: bool = True,
        progress: Progress | None = None,
    ) -> RefreshReport:
        """Bring the index in line with the installed catalogues.

        Parameters
        ----------
        processes : int, optional
            Worker processes; by default one per core.
        only : sequence of str
            Restrict it to these architectures.
        use_snapshot : bool
            Start a missing index from the shipped snapshot if that fits.
        progress : callable, optional
            Called with a phase, the number done and the number planned.

        Returns
        -------
        RefreshReport

        Raises
        ------
        CatalogueError, IndexFileError
            As `refresh.refresh`.
        """
        from zoo_index.index.refresh import refresh
        from zoo_index.index.snapshot import import_snapshot

        is_imported = use_snapshot and not only and import_snapshot(self.store)
        report = refresh(self.store, processes=processes, only=only, progress=progress)
        report.from_snapshot = is_imported
        if self._entries.n_architectures():
            self.search.vector_index()  # made anew if it is missing or was altered
        return report

    def add(
        self, checkpoint: str | os.PathLike[str], name: str, *, license: str | None = None, family: str = ""
    ) -> dict[str, Any]:
        """Add a local checkpoint as a source and return its entry (see `addition.add_checkpoint`)."""
        from zoo_index.index.addition import add_checkpoint

        self._start_from_snapshot()
        add_checkpoint(self.store, Path(checkpoint), name, license=license, family=family)
        return self.entry(name)

    def import_metrics(self, path: str | os.PathLike[str], dataset: str | None = None) -> MetricsReport:
        """Take published results of entries into the index (see `metrics.import_metrics`)."""
        from zoo_index.metrics import import_metrics

        self.ensure()
        return import_metrics(self.store, Path(path), dataset)

    def status(self) -> dict[str, Any]:
        """Return counts, versions and the last run of the index."""
        from zoo_index.index.vectors import kind_of

        with self.store.reading() as connection:
            generation, vectors_generation, _ = queries.state(connection)
            counts = queries.counts(connection)
            return {
                "path": str(self.store.path),
                "generation": generation,
                "vectors_current": vectors_generation == generation,
                "vectors": kind_of(counts["embedded"]),
                "recall": queries.recall(connection),
                **counts,
                "catalogues": queries.by_catalogue(connection),
                "metrics": queries.metric_datasets(connection),
                "last_run": queries.last_run(connection),
                "failed": queries.failures(connection),
            }

    def export(self, folder: str | os.PathLike[str]) -> dict[str, Any]:
        """Write a snapshot to a folder and return its provenance (see `snapshot.export_snapshot`)."""
        from zoo_index.index.snapshot import export_snapshot

        return export_snapshot(self.store, Path(folder))

    def verify(self) -> list[str]:
        """Check the database, every fingerprint and the vector file; return what is wrong."""
        from zoo_index.index.verification import verify

        return verify(self.store, self.search.vector_path)

    def entry(self, name: str) -> dict[str, Any]:
        """Return one entry by its name, or the preferred entry of an architecture.

        Raises
        ------
        UnknownNameError
            If there is no such entry; the message names the nearest ones.
        """
        self.ensure()
        found = self._entries.find(name)
        return {**found, "available": Availability().find(found) is not None}

    def _start_from_snapshot(self) -> None:
        if self._entries.n_architectures():
            return
        from zoo_index.index.refresh import refresh
        from zoo_index.index.snapshot import import_snapshot

        if import_snapshot(self.store):
            refresh(self.store, catalogues=["pypi"])
