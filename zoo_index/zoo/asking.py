"""Questions to the index: what is in it, which sources suit a target, what a transfer would do.

The matcher, and with it numpy and numba, is imported by the methods that need it: listing entries must not
wait for a compiler.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

from transfer.errors import InputError
from transfer.structure.standardization import check_form
from zoo_index.foundation.progress import step
from zoo_index.hub.availability import Availability
from zoo_index.recommending.answers import Filters
from zoo_index.zoo.keeping import Keeper
from zoo_index.zoo.picking import admitted

if TYPE_CHECKING:
    from transfer.options import Options
    from transfer.planning.planned import TransferPlan
    from zoo_index.database.entries import Entry
    from zoo_index.recommending.answers import Recommendations
    from zoo_index.recommending.resolve import NetworkSpec, Resolved


__all__ = ["Asker"]


class Asker(Keeper):
    """Answers questions; changes nothing."""

    def entries(self, filters: Filters | None = None) -> list[dict[str, Any]]:
        """List the entries that pass the filters, with ``available``; the preferred tag of each architecture first.

        Raises
        ------
        EmptyIndexError
            If there is no index.
        """
        view = self.ensure()
        rows = sorted(view.entries.all, key=lambda entry: (entry["architecture"], entry["position"]))
        return admitted(rows, filters or Filters())

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
        from zoo_index.recommending.recommend import recommend
        from zoo_index.recommending.resolve import resolve

        form = check_form(measure, "measure")
        if k < 1:
            raise InputError(f"expected at least one result, got k={k}")
        self.ensure()
        filters, availability = filters or Filters(), Availability()
        for target in targets:
            view = self.view()  # one generation for the whole of a question
            step("reading the target")
            resolved = resolve(target, form, view, example)
            step(f"comparing {resolved.name} with the index")
            yield recommend(
                view.search,
                view.entries,
                resolved,
                k=k,
                form=form,
                exact=exact,
                filters=filters,
                find=availability.find,
            )

    def get_ready(self, measure: str = "dpiat") -> None:
        """Load what `recommend` takes for any target, while something else is waited for.

        Raises
        ------
        EmptyIndexError
            If there is no index.
        """
        view = self.ensure()
        step("loading what the index holds")
        import zoo_index.recommending.recommend  # noqa: F401 - takes a while
        from transfer.alignment._machine_code import kernels
        from zoo_index.recommending.candidates import load

        kernels()
        load(view.search, view.entries, check_form(measure, "measure"))

    def resolved(self, spec: NetworkSpec | Resolved, *, measure: str = "dpiat", example: object = None) -> Resolved:
        """Standardize whatever a specification means, at least in the form of a measure (see `resolve.resolve`)."""
        from zoo_index.recommending.resolve import resolve

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
        from transfer.planning.comparing import similarity
        from zoo_index.recommending.files import are_named
        from zoo_index.recommending.resolve import Resolved, checkpoint_of, network_of

        form = check_form(measure, "measure")
        step("reading both networks")
        entries = self._started().entries
        known = self.resolved(target, measure=measure, example=example).forms[form]
        file = checkpoint_of(source, entries) if form == "dpiat" else None
        if file is None:
            return similarity(self.resolved(source, measure=measure).forms[form], known, measure=form)
        if file.is_ordered or are_named(known) or isinstance(target, Resolved):
            return similarity(file, known)
        return similarity(file, network_of(target, entries, example))  # whose names tell the order

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
        from zoo_index.recommending.resolve import network_of
        from zoo_index.recommending.targets import name_for

        entries = self._started().entries
        specs = cast("Sequence[NetworkSpec]", source if isinstance(source, list | tuple) else [source])
        step("reading both networks")
        networks = [network_of(spec, entries) for spec in specs]
        receiver = network_of(target, entries, example)
        step("planning")
        if len(networks) == 1:
            return plan(networks[0], receiver, method=method, options=options)
        return plan(networks, receiver, method=method, options=options, source_names=list(map(name_for, specs)))

    def indexed(self, spec: str) -> Entry | None:
        """Return the entry that a specification names, if it is neither code nor a file."""
        from zoo_index.recommending.resolve import indexed

        return indexed(spec, self._started().entries)
