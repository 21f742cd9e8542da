"""The zoo: one object for everything that people do with the index; `keeping` has what keeps it.

The matcher, and with it numpy and numba, is imported by the methods that need it: listing entries must not
wait for a compiler.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from transfer.errors import InputError
from transfer.execution.coverage import LEAST_COVERAGE, check_least
from transfer.structure.standardization import as_module, check_form
from zoo_index.answers import Filters
from zoo_index.database.store import default_place
from zoo_index.keeping import Keeper
from zoo_index.weights import Availability

if TYPE_CHECKING:
    from torch import nn

    from transfer.execution.reports import TransferReport
    from transfer.options import Options
    from transfer.planning.planned import TransferPlan
    from zoo_index.answers import Recommendations
    from zoo_index.entries import Entry
    from zoo_index.resolve import NetworkSpec, Resolved

__all__ = ["Zoo", "open_zoo"]


def open_zoo(place: str | os.PathLike[str] | None = None) -> Zoo:
    """Open the index.

    Parameters
    ----------
    place : str or path, optional
        Of the database: a file, or ``postgresql://user@host/name``; by default ``ZOO_DB``, else a file in the
        user's data folder.

    Returns
    -------
    Zoo

    Raises
    ------
    InputError
        If no file can have that path.
    """
    return Zoo(place if place is not None else default_place())


class Zoo(Keeper):
    """Index of pretrained networks.

    Parameters
    ----------
    place : str or path
        Of the database (see `open_zoo`).
    """

    def entries(self, filters: Filters | None = None) -> list[dict[str, Any]]:
        """List the entries that pass the filters, with ``available``; the preferred tag of each architecture first.

        Raises
        ------
        EmptyIndexError
            If there is no index.
        """
        view = self.ensure()
        filters, availability = filters or Filters(), Availability()
        found = []
        for entry in sorted(view.entries.all, key=lambda entry: (entry["architecture"], entry["position"])):
            if filters.admits(entry):
                available = availability.find(entry) is not None
                if available or not filters.available:
                    found.append({**entry, "available": available})
        return found

    def recommend(
        self,
        target: NetworkSpec | Resolved,
        *,
        k: int = 10,
        measure: str = "dpiat",
        exact: bool = False,
        filters: Filters | None = None,
        example: object = None,
    ) -> Recommendations:
        """Find the best sources for a target.

        Parameters
        ----------
        target : nn.Module, Architecture, Checkpoint, Resolved or str
            A string is what the command line takes: file, file:Name, module:Name, timm name or checkpoint.
        k : int
            Number of results.
        measure : {'dpiat', 'paper'}
        exact : bool
            Score every architecture instead of a shortlist, however many there are.
        filters : Filters, optional
        example : Tensor, tuple, mapping or str, optional
            What the target takes, where a guess does not do (see `transfer.plan`).

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
            If the target cannot be used, or refuses the example.
        """
        answers = self.recommend_many([target], k=k, measure=measure, exact=exact, filters=filters, example=example)
        return next(answers)

    def recommend_many(
        self,
        targets: Iterable[NetworkSpec | Resolved],
        *,
        k: int = 10,
        measure: str = "dpiat",
        exact: bool = False,
        filters: Filters | None = None,
        example: object = None,
    ) -> Iterator[Recommendations]:
        """Find the best sources for many targets; what is the same for all is done once.

        Parameters
        ----------
        targets : iterable
            Each as for `recommend`; taken one by one, as the answers are asked for.
        k, measure, exact, filters, example
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
            view = self.view()  # one generation for the whole of a question
            yield recommend(
                view.search,
                view.entries,
                resolve(target, form, view, example),
                k=k,
                form=form,
                exact=exact,
                filters=filters,
                is_available=lambda entry: availability.find(entry) is not None,
            )

    def get_ready(self, measure: str = "dpiat") -> None:
        """Load what `recommend` takes for any target, while something else is waited for.

        Raises
        ------
        EmptyIndexError
            If there is no index.
        """
        view = self.ensure()
        import zoo_index.recommend  # noqa: F401 - takes a while
        from transfer.alignment._machine_code import kernels
        from zoo_index.candidates import load

        kernels()
        load(view.search, view.entries, check_form(measure, "measure"))

    def resolved(self, spec: NetworkSpec | Resolved, *, measure: str = "dpiat", example: object = None) -> Resolved:
        """Standardize whatever a specification means, at least in the form of a measure (see `resolve.resolve`)."""
        from zoo_index.resolve import resolve

        return resolve(spec, check_form(measure, "measure"), self._started(), example)

    def similarity(
        self,
        source: NetworkSpec | Resolved,
        target: NetworkSpec | Resolved,
        *,
        measure: str = "dpiat",
        example: object = None,
    ) -> float:
        """How much of the target, which takes `example` (see `transfer.plan`), the source can supply, in [0, 1]."""
        from transfer.alignment.similarity import similarity

        form = check_form(measure, "measure")
        resolved = [
            self.resolved(spec, measure=measure, example=given)
            for spec, given in ((source, None), (target, example))
        ]
        return similarity(*(network.forms[form] for network in resolved), measure=form)

    def plan(
        self,
        source: NetworkSpec | Sequence[NetworkSpec],
        target: NetworkSpec,
        *,
        method: str = "dpiat",
        options: Options | None = None,
        example: object = None,
    ) -> TransferPlan:
        """Plan a transfer; no weights are read and nothing is downloaded.

        Parameters
        ----------
        source, target : nn.Module, Checkpoint or str
            Of a list or tuple of sources, what the first leaves fresh is filled by the next.
        method : {'dpiat', 'paper'}
        options : Options, optional
            For ``dpiat``.
        example : Tensor, tuple, mapping or str, optional
            What the target takes, where a guess does not do (see `transfer.plan`).
        """
        from transfer.planning.plans import plan
        from zoo_index.resolve import network_of
        from zoo_index.targets import name_for

        entries = self._started().entries
        specs = cast("Sequence[NetworkSpec]", source if isinstance(source, list | tuple) else [source])
        networks = [network_of(spec, entries) for spec in specs]
        receiver = network_of(target, entries, example)
        if len(networks) == 1:
            return plan(networks[0], receiver, method=method, options=options)
        return plan(networks, receiver, method=method, options=options, source_names=list(map(name_for, specs)))

    def indexed(self, spec: str) -> Entry | None:
        """Return the entry that a specification names, if it is neither code nor a file."""
        from zoo_index.resolve import indexed

        return indexed(spec, self._started().entries)

    def transfer(
        self,
        target: nn.Module | str,
        source: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
        *,
        sources: int | None = None,
        weights: str | os.PathLike[str] | None = None,
        method: str = "dpiat",
        options: Options | None = None,
        filters: Filters | None = None,
        example: object = None,
        min_coverage: float = LEAST_COVERAGE,
        verify: bool = True,
        allow_nonfinite: bool = False,
        ema: bool = False,
        state: str | None = None,
        device: str = "cpu",
    ) -> tuple[nn.Module, TransferReport]:
        """Transfer weights into a target.

        Parameters
        ----------
        target : nn.Module or str
            Written in place, on whatever device it is; a string is built first.
        source : str or path, optional
            An entry or architecture of the index, or a checkpoint. By default the best recommended one. Of several,
            what the first leaves fresh is filled by the next.
        sources : int, optional
            How many there may be; by default as many as are named, at least one. Those that are not named are
            recommended: the first for the target, each of the others for what is left fresh, if one can supply at
            least half of that.
        weights : path, optional
            File with the weights of `source`, where they are not to be fetched.
        method : {'dpiat', 'paper'}
        options : Options, optional
            For ``dpiat``.
        filters : Filters, optional
            What the source must be, recommended or named.
        example : Tensor, tuple, mapping or str, optional
            What the target takes, where a guess does not do (see `transfer.plan`).
        min_coverage : float
            Refuse to fill a smaller part of the target; it is unchanged then.
        verify : bool
            Run both networks in the end, where that can be done in seconds, and compare their outputs.
        allow_nonfinite : bool
        ema : bool
            Take the averaged weights that the checkpoint keeps beside the plain ones.
        state : str, optional
            Which state dict of the checkpoint to take, where it holds several (see `open_checkpoint`).
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
        CoverageError
            If less than `min_coverage` of the target would be filled.
        """
        from transfer.tracing.given import give_example
        from zoo_index.further import find_sources
        from zoo_index.sources import check_sources
        from zoo_index.transfers import build_on, fill, left_fresh

        form = check_form(method)
        check_least(min_coverage)
        named = [source] if isinstance(source, str | os.PathLike) else list(source or ())
        n = max(len(named), 1) if sources is None else sources
        check_sources(named, n, form, weights=weights, ema=ema, state=state)
        filters = filters or Filters()
        module = as_module(target)
        name = type(target).__name__ if module is not None else str(target)
        if module is None:
            module = build_on(device, str(target), example)
        elif example is not None:
            give_example(module, example)
        places = find_sources(
            self,
            lambda: module,
            named,
            lambda places: left_fresh(module, places, options),
            n=n,
            method=form,
            filters=filters,
            weights=weights,
        )
        report = fill(
            module,
            places,
            method=form,
            options=options,
            min_coverage=min_coverage,
            verify=verify,
            allow_nonfinite=allow_nonfinite,
            ema=ema,
            state=state,
            target_name=name,
        )
        return module, report

    def transfer_to_file(
        self,
        target: str,
        output: str | os.PathLike[str],
        source: str | Sequence[str] | None = None,
        **options: Any,
    ) -> TransferReport:
        """Build a target, transfer into it and save it as safetensors.

        Parameters
        ----------
        target : str
            Code or a timm name.
        output : path
            Replaced whole, or left as it is if anything fails.
        source : str or sequence of str, optional
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
        from zoo_index.transfers import save

        return save(*self.transfer(target, source, **options), output)
