"""The zoo: one object for everything that people do with the index.

The matcher, and with it numpy and numba, is imported by the methods that need it: listing entries must not
wait for a compiler.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfer.errors import InputError
from transfer.structure.standardization import as_module, check_form
from zoo_index.answers import Filters
from zoo_index.database import queries
from zoo_index.database.store import Store, default_path
from zoo_index.entries import Entries
from zoo_index.errors import EmptyIndexError
from zoo_index.weights import Availability

if TYPE_CHECKING:
    from torch import nn

    from transfer.execution.apply import TransferReport
    from transfer.options import Options
    from transfer.planning.planned import TransferPlan
    from zoo_index.answers import Recommendations
    from zoo_index.index.refresh import Progress, RefreshReport
    from zoo_index.index.search import Search
    from zoo_index.metrics import MetricsReport
    from zoo_index.resolve import NetworkSpec

__all__ = ["Zoo", "open_zoo"]


def open_zoo(path: str | os.PathLike[str] | None = None) -> Zoo:
    """Open the index.

    Parameters
    ----------
    path : path, optional
        Of the database; by default ``ZOO_DB``, else a file in the user's data folder.

    Returns
    -------
    Zoo
    """
    return Zoo(Path(path) if path is not None else default_path())


class Zoo:
    """Index of pretrained networks.

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

    def entries(self, filters: Filters | None = None) -> list[dict[str, Any]]:
        """List the entries that pass the filters, with ``available``; the preferred tag of each architecture first.

        Raises
        ------
        EmptyIndexError
            If there is no index.
        """
        self.ensure()
        filters, availability = filters or Filters(), Availability()
        found = []
        for entry in self._entries.all():
            if filters.admits(entry):
                available = availability.find(entry) is not None
                if available or not filters.available:
                    found.append({**entry, "available": available})
        return found

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

    def recommend(
        self,
        target: NetworkSpec,
        *,
        k: int = 10,
        measure: str = "dpiat",
        exact: bool = False,
        filters: Filters | None = None,
    ) -> Recommendations:
        """Find the best sources for a target.

        Parameters
        ----------
        target : nn.Module, Architecture, Checkpoint or str
            A string is what the command line takes: file, file:Name, module:Name, timm name or checkpoint.
        k : int
            Number of results.
        measure : {'dpiat', 'paper'}
        exact : bool
            Score every architecture instead of a shortlist, however many there are.
        filters : Filters, optional

        Returns
        -------
        Recommendations

        Raises
        ------
        EmptyIndexError
            If there is no index.
        NothingFoundError
            If no entry passes the filters, or none has anything in common with the target.
        InputError
            If the target cannot be used.
        """
        return next(self.recommend_many([target], k=k, measure=measure, exact=exact, filters=filters))

    def recommend_many(
        self,
        targets: Iterable[NetworkSpec],
        *,
        k: int = 10,
        measure: str = "dpiat",
        exact: bool = False,
        filters: Filters | None = None,
    ) -> Iterator[Recommendations]:
        """Find the best sources for many targets; what is the same for all is done once.

        Parameters
        ----------
        targets : iterable
            Each as for `recommend`; taken one by one, as the answers are asked for.
        k, measure, exact, filters
            As for `recommend`.

        Yields
        ------
        Recommendations
            In the order of the targets.

        Raises
        ------
        EmptyIndexError, NothingFoundError, InputError
            As `recommend`, when the answer that fails is asked for.
        """
        from zoo_index.recommend import recommend
        from zoo_index.resolve import resolve

        form = check_form(measure, "measure")
        if k < 1:
            raise InputError(f"expected at least one result, got k={k}")
        self.ensure()
        filters, availability = filters or Filters(), Availability()
        for target in targets:
            yield recommend(
                self.search,
                self._entries,
                resolve(target, form, self.search, self._entries),
                k=k,
                form=form,
                exact=exact,
                filters=filters,
                is_available=lambda entry: availability.find(entry) is not None,
            )

    def similarity(self, source: NetworkSpec, target: NetworkSpec, *, measure: str = "dpiat") -> float:
        """How much of the target the source can supply, in [0, 1]."""
        from transfer.alignment.scaling import similarity
        from zoo_index.resolve import resolve

        form = check_form(measure, "measure")
        self._start_from_snapshot()
        architectures = [resolve(spec, form, self.search, self._entries).forms[form] for spec in (source, target)]
        return similarity(*architectures, measure=form)

    def plan(
        self,
        source: NetworkSpec,
        target: NetworkSpec,
        *,
        method: str = "dpiat",
        options: Options | None = None,
    ) -> TransferPlan:
        """Plan a transfer; no weights are read and nothing is downloaded.

        Parameters
        ----------
        source, target : nn.Module, Checkpoint or str
        method : {'dpiat', 'paper'}
        options : Options, optional
            For ``dpiat``.
        """
        from transfer.planning.plans import plan
        from zoo_index.resolve import network_of

        self._start_from_snapshot()
        networks = [network_of(spec, self._entries) for spec in (source, target)]
        return plan(*networks, method=method, options=options)

    def transfer(
        self,
        target: nn.Module | str,
        source: str | os.PathLike[str] | None = None,
        *,
        weights: str | os.PathLike[str] | None = None,
        method: str = "dpiat",
        options: Options | None = None,
        filters: Filters | None = None,
        allow_nonfinite: bool = False,
        ema: bool = False,
        device: str = "cpu",
    ) -> tuple[nn.Module, TransferReport]:
        """Transfer weights into a target.

        Parameters
        ----------
        target : nn.Module or str
            Written in place, on whatever device it is; a string is built first.
        source : str or path, optional
            An entry or architecture of the index, or a checkpoint. By default the best recommended one.
        weights : path, optional
            File with the weights of `source`, where they are not to be fetched.
        method : {'dpiat', 'paper'}
        options : Options, optional
            For ``dpiat``.
        filters : Filters, optional
            What the source must be, recommended or named.
        allow_nonfinite : bool
        ema : bool
            Take the averaged weights that the checkpoint keeps beside the plain ones.
        device : str
            Where a target that is built here goes: ``cpu``, ``cuda``, ``cuda:N`` or ``auto``.

        Returns
        -------
        target : nn.Module
        report : TransferReport

        Raises
        ------
        WeightsUnavailableError
            If the weights are not at hand and cannot be fetched.
        """
        from transfer.execution.apply import transfer
        from transfer.weights.devices import find_device, move_to
        from zoo_index.sources import open_source
        from zoo_index.targets import build_target

        form = check_form(method)
        filters = filters or Filters()
        place = find_device(device)
        module = as_module(target)
        name = type(target).__name__ if module is not None else str(target)
        if module is None:
            module = move_to(build_target(str(target)), place)
        if source is None:
            # the measure follows the method, so that the recommended source suits what is done with it
            source = self.recommend(module, k=1, measure=form, filters=filters).results[0].name
        opened = open_source(source, filters, self.entry, weights, ema=ema)
        report = transfer(
            opened.checkpoint,
            module,
            method=form,
            options=options,
            source_structure=opened.structure,
            allow_nonfinite=allow_nonfinite,
            source_name=opened.name,
            target_name=name,
        )
        if opened.note:
            report = replace(report, note="; ".join(filter(None, (report.note, opened.note))))
        return module, report

    def transfer_to_file(
        self, target: str, output: str | os.PathLike[str], source: str | None = None, **options: Any
    ) -> TransferReport:
        """Build a target, transfer into it and save it as safetensors.

        Parameters
        ----------
        target : str
            Code or a timm name.
        output : path
            Replaced whole, or left as it is if anything fails.
        source : str, optional
        **options
            As `transfer`.

        Returns
        -------
        TransferReport

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        from transfer.weights.checkpoint import save_module

        module, report = self.transfer(target, source, **options)
        save_module(module, output, {"zoo.source": report.source, "zoo.method": report.method})
        return replace(report, output=str(output))

    def _start_from_snapshot(self) -> None:
        if self._entries.n_architectures():
            return
        from zoo_index.index.refresh import refresh
        from zoo_index.index.snapshot import import_snapshot

        if import_snapshot(self.store):
            refresh(self.store, catalogues=["pypi"])
