"""The keeping of an index: refreshing it, looking at it, checking it.

What needs the matcher, and with it numpy and numba, is imported where it is needed: listing entries must not
wait for a compiler.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfer.errors import InputError
from zoo_index.database import queries, runs
from zoo_index.database.opening import open_store
from zoo_index.errors import EmptyIndexError
from zoo_index.hub.availability import Availability
from zoo_index.index.view import View, look

if TYPE_CHECKING:
    from zoo_index.database.clearing import Cleared
    from zoo_index.engines import Engine
    from zoo_index.index.history import Difference
    from zoo_index.jobs.refresh import Progress, RefreshReport

__all__ = ["Keeper"]

_MOST_DAYS = 100_000


class Keeper:
    """Keeps an index of pretrained networks.

    Parameters
    ----------
    place : str or path
        Of the database: a file, or the address of one on a server. A file is made when it is first needed.

    Attributes
    ----------
    on_first_use : callable or None
        Called with the number of architectures once a missing index has been made from the shipped snapshot.
    """

    def __init__(self, place: str | os.PathLike[str]) -> None:
        self.store = open_store(place)
        self.on_first_use: Callable[[int], object] | None = None
        self._view: View | None = None

    def view(self) -> View:
        """Return the index as it stands now; a question keeps to the one that it began with."""
        self._view = look(self.store, self._view)
        return self._view

    def ensure(self) -> View:
        """Make sure that there is something to recommend: a missing index starts from the shipped snapshot.

        Raises
        ------
        EmptyIndexError
            If there is no index and no snapshot that fits the installed timm.
        """
        view = self._started()
        if not view.entries.n_architectures:
            lease = self._lease()
            if lease and lease["holder"] and not lease["is_dead"]:
                raise EmptyIndexError(
                    f"expected an index of pretrained networks, '{self.store.name}' is being filled since "
                    f"{lease['since_utc']:%Y-%m-%d %H:%M:%S} UTC (run {lease['run_id']}); ask again when it is done"
                )
            raise EmptyIndexError(
                f"expected an index of pretrained networks, '{self.store.name}' holds none yet: its refresh was "
                "interrupted, or no shipped snapshot fits the installed timm; run: zoo index refresh"
            )
        return view

    def _lease(self) -> dict[str, Any] | None:
        if not self.store.exists():
            return None
        with self.store.reading() as connection:
            return runs.lease_row(connection)

    def refresh(
        self,
        *,
        engine: Engine | None = None,
        processes: int | None = None,
        only: Sequence[str] = (),
        use_snapshot: bool = True,
        seconds: float | None = None,
        progress: Progress | None = None,
    ) -> RefreshReport:
        """Bring the index in line with the installed catalogues.

        Parameters
        ----------
        engine : Engine, optional
            Runs the workers (see `zoo_index.engines`); by default processes of this machine.
        processes : int, optional
            How many, by default one per core.
        only : sequence of str
            Restrict it to these architectures.
        use_snapshot : bool
            Start a missing index from the shipped snapshot if that fits.
        seconds : float, optional
            How long one architecture may take.
        progress : callable, optional
            Called with a phase, the number done and the number planned.

        Returns
        -------
        RefreshReport

        Raises
        ------
        LeaseHeldError, UnknownNameError, IndexFileError
            As `refresh.refresh`.
        """
        from zoo_index.engines import open_engine
        from zoo_index.index.snapshot import fill_from_snapshot, snapshot_fits
        from zoo_index.jobs.refresh import ITEM_SECONDS, refresh

        is_filled = use_snapshot and not only and snapshot_fits() and fill_from_snapshot(self.store)
        with engine or open_engine(processes=processes) as workers:
            report = refresh(
                self.store, engine=workers, only=only, seconds=seconds or ITEM_SECONDS, progress=progress
            )
        report.from_snapshot = is_filled
        view = self.view()
        if view.entries.n_architectures:
            len(view.search.vector_index)  # made anew if it is missing or was altered
        if is_filled:
            self._tell_first_use(view)
        return report

    def status(self) -> dict[str, Any]:
        """Return counts, versions and the last run of the index."""
        from zoo_index.index.vectors import kind_of

        generation = self.view().generation
        with self.store.reading() as connection:
            counts = queries.counts(connection, generation)
            made = queries.generation_row(connection, generation)
            last = runs.last_runs(connection)
            return {
                "index": self.store.name,
                "generation": generation,
                "made_utc": made["made_utc"] if made else None,
                "vectors": kind_of(counts["embedded"]),
                "recall": queries.recall(connection, generation),
                **counts,
                "catalogues": queries.by_catalogue(connection, generation),
                "metrics": queries.metric_datasets(connection),
                "last_run": last[0] if last else None,
                "failed": queries.failures(connection),
            }

    def diff(self, since: int | None = None, until: int | None = None) -> Difference:
        """Say what changed between two generations, by default by the last one (see `history.difference`)."""
        from zoo_index.index.history import difference

        return difference(self.store, since, until)

    def vacuum(self, keep_days: float = 30.0) -> Cleared:
        """Delete what retired more than some days ago and give its space back."""
        from zoo_index.database.clearing import clear

        if not 0 <= keep_days <= _MOST_DAYS:
            raise InputError(f"expected 0 to {_MOST_DAYS:,} days, got {keep_days}")
        with self.store.writing() as connection:
            cleared = clear(connection, keep_days)
        self.store.compact()
        return cleared

    def repair(self) -> list[str]:
        """Put right what can be without a refresh; return what was done."""
        from zoo_index.index.repair import repair

        return repair(self.store)

    def export(self, folder: str | os.PathLike[str]) -> dict[str, Any]:
        """Write a snapshot to a folder and return its provenance (see `snapshot.export_snapshot`)."""
        from zoo_index.index.snapshot import export_snapshot

        return export_snapshot(self.store, Path(folder))

    def verify(self) -> list[str]:
        """Check the database, every fingerprint and the vector file; return what is wrong."""
        from zoo_index.index.verification import verify

        return verify(self.store)

    def entry(self, name: str) -> dict[str, Any]:
        """Return one entry by its name, or the preferred entry of an architecture.

        Raises
        ------
        UnknownNameError
            If there is no such entry; the message names the nearest ones.
        """
        found = self.ensure().entries.find(name)
        return {**found, "available": Availability().find(found) is not None}

    def _started(self) -> View:
        """Return the view after the first use, whether or not there is anything to see."""
        view = self.view()
        if not view.generation:
            from zoo_index.jobs.first_use import start_index

            if start_index(self.store):
                view = self.view()
                self._tell_first_use(view)
        return view

    def _tell_first_use(self, view: View) -> None:
        if self.on_first_use is not None:
            self.on_first_use(view.entries.n_architectures)
