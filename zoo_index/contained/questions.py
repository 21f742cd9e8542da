"""The questions of the command line: those about code are answered with the help of a process that runs it.

While that process imports what the code needs, this one reads the index; it imports no torch itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfer.errors import ZooError
from transfer.execution.coverage import check_least
from transfer.weights.files import cannot_write, private_folder, put_in_place
from zoo_index.contained.child import Child
from zoo_index.contained.replies import check_outline, checked, checked_plan, described
from zoo_index.recommending.targets import name_for, split_code
from zoo_index.transferring.sources import check_sources

if TYPE_CHECKING:
    from transfer.options import Options
    from transfer.planning.outline import Outlined
    from transfer.structure.records import Architecture
    from zoo_index.recommending.answers import Filters, Recommendations
    from zoo_index.recommending.resolve import Resolved
    from zoo_index.transferring.sources import Place
    from zoo_index.zoo.zoo import Zoo

__all__ = ["plan", "recommend", "resolved", "similarity", "standardized", "transfer_to_file"]

_CAN_CONTAIN = os.name == "posix"
"""Elsewhere the code runs in the command's own process."""


def _is_code(spec: str) -> bool:
    return _CAN_CONTAIN and split_code(spec) is not None


def recommend(
    open_zoo: Callable[[], Zoo],
    target: str,
    *,
    measure: str,
    example: str | None,
    n_plans: int = 0,
    **options: Any,
) -> tuple[Recommendations, dict[str, Any]]:
    """Answer as `Zoo.recommend`, a target that is code being run in a process of its own.

    Parameters
    ----------
    open_zoo : callable
        Called once that process has been started.
    target : str
    measure, example, **options
        As `Zoo.recommend`.
    n_plans : int
        For so many of the best sources that are not alike a plan is made, to be drawn.

    Returns
    -------
    Recommendations
    dict
        By the source's name its plan as `plan` gives it, or a text that says why there is none.

    Raises
    ------
    ZooError
        As `Zoo.recommend`; also a TargetError where the process takes too much, or ends.
    """
    if not _is_code(target):
        zoo = open_zoo()
        answer = zoo.recommend(target, measure=measure, example=example, **options)

        def plan_here(name: str) -> dict[str, Any] | str:
            try:
                return _values(zoo.plan(name, target, method=measure, example=example), name, drawn=True)
            except ZooError as error:
                return str(error)

        return answer, _plans(answer, n_plans, plan_here)
    with Child(target) as child:
        _ask_about(child, "target", target, example)
        zoo = open_zoo()
        zoo.get_ready(measure)
        answer = zoo.recommend(_told(child), measure=measure, **options)

        def plan_there(name: str) -> dict[str, Any] | str:
            child.ask("plan_with", entry=zoo.indexed(name), method=measure)
            told = child.answer()
            return told if isinstance(told, str) else checked_plan(child, told, drawn=True)

        return answer, _plans(answer, n_plans, plan_there)


def _plans(
    answer: Recommendations, n_plans: int, plan: Callable[[str], dict[str, Any] | str]
) -> dict[str, dict[str, Any] | str]:
    """Plan for sources that differ; one that cannot be opened here is no reason to fail."""
    seen: set[tuple[float, float, int]] = set()
    found: dict[str, dict[str, Any] | str] = {}
    for result in answer.results:
        like = (round(result.similarity, 6), round(result.coverage, 6), result.params)
        if len(seen) < n_plans and like not in seen:
            found[result.name] = plan(result.name)
            if not isinstance(found[result.name], str):
                seen.add(like)
    return found


def resolved(open_zoo: Callable[[], Zoo], target: str, *, measure: str, example: str | None) -> Resolved:
    """Answer as `Zoo.resolved`; see `recommend`."""
    if not _is_code(target):
        return open_zoo().resolved(target, measure=measure, example=example)
    with Child(target) as child:
        _ask_about(child, "target", target, example)
        open_zoo().get_ready(measure)
        return _told(child)


def standardized(open_zoo: Callable[[], Zoo], target: str, *, example: str | None) -> Resolved:
    """Answer as `Zoo.resolved`, in every form of the target; code is standardized without the index."""
    if not _is_code(target):
        return open_zoo().resolved(target, example=example)
    with Child(target) as child:
        _ask_about(child, "target", target, example)
        return _told(child)


def similarity(
    open_zoo: Callable[[], Zoo], source: str, target: str, *, measure: str, example: str | None
) -> float:
    """Answer as `Zoo.similarity`; see `recommend`."""
    asked = {"source": (source, None), "target": (target, example)}
    codes = {role: given for role, given in asked.items() if _is_code(given[0])}
    if not codes:
        return open_zoo().similarity(source, target, measure=measure, example=example)
    with Child(_named(codes)) as child:
        for role, (spec, given) in codes.items():
            _ask_about(child, role, spec, given)
        zoo = open_zoo()
        own, other = (_told(child) if role in codes else spec for role, (spec, _) in asked.items())
    return zoo.similarity(own, other, measure=measure, example=None if "target" in codes else example)


def plan(
    open_zoo: Callable[[], Zoo],
    sources: Sequence[str],
    target: str,
    *,
    method: str,
    options: Options,
    example: str | None,
    drawn: bool = False,
) -> dict[str, Any]:
    """Answer as `Zoo.plan`, in JSON values; see `recommend`. The process makes the plan: it asks the network.

    With `drawn`, what a picture is drawn from is among the values (`transfer.planning.outline.outlined`).
    """
    roles = [f"source {i}" for i in range(1, len(sources) + 1)]
    asked = {
        **{role: (source, None) for role, source in zip(roles, sources, strict=True)},
        "target": (target, example),
    }
    codes = {role: given for role, given in asked.items() if _is_code(given[0])}
    if not codes:
        found = open_zoo().plan(sources, target, method=method, options=options, example=example)
        return _values(found, name_for(sources[0]), drawn)
    with Child(_named(codes)) as child:
        for role, (spec, given) in codes.items():
            child.ask("open", role=role, spec=spec, example=given, device="meta")
        zoo = open_zoo()
        for role, (spec, given) in asked.items():
            if role not in codes:
                entry = zoo.indexed(spec)
                child.ask("open", role=role, spec=spec, example=given, device="meta", entry=entry)
        names = list(map(name_for, sources))
        child.ask("plan", sources=roles, names=names, method=method, options=asdict(options), drawn=drawn)
        for _ in asked:
            child.answer()
        return checked_plan(child, child.answer(), drawn)


def transfer_to_file(
    open_zoo: Callable[[], Zoo],
    target: str,
    output: Path,
    named: Sequence[str],
    *,
    sources: int,
    weights: Path | None,
    method: str,
    options: Options,
    filters: Filters,
    example: str | None,
    ema: bool,
    state: str | None,
    device: str,
    drawn: bool = False,
    **others: Any,
) -> dict[str, Any]:
    """Answer as `Zoo.transfer_to_file`, in JSON values; see `recommend`, and `plan` for `drawn`.

    What has to be looked up or fetched is, once the target is known to be one; the process finds a file.
    """
    codes = dict.fromkeys(filter(_is_code, (target, *named)))
    if not codes:
        report = open_zoo().transfer_to_file(
            target,
            str(output),
            named,
            sources=sources,
            weights=weights,
            method=method,
            options=options,
            filters=filters,
            example=example,
            ema=ema,
            state=state,
            device=device,
            **others,
        )
        return _values(report, report.source, drawn)
    check_least(others["min_coverage"])
    check_sources(named, sources, method, weights=weights, ema=ema, state=state)
    with private_folder(output) as folder, Child(" and ".join(codes), folder) as child:
        child.ask("open", role="target", spec=target, example=example, device=device)
        if not named:
            child.ask("describe", role="target", called=None)
        zoo = open_zoo()
        if not named:
            zoo.get_ready(method)
        from transfer.structure.notation import from_values
        from transfer.weights.checkpoint import open_checkpoint
        from zoo_index.reports.shown import ShownReport
        from zoo_index.zoo.further import find_sources

        child.answer()

        def left(places: Sequence[Place]) -> Architecture:
            child.ask("left", places=list(map(asdict, places)), options=asdict(options))
            return checked(child, from_values, child.answer())

        places = find_sources(
            zoo, lambda: described(child), named, left, n=sources, method=method, filters=filters, weights=weights
        )
        file = Path(os.path.abspath(folder), "weights.safetensors")
        child.ask(
            "transfer",
            places=list(map(asdict, places)),
            options=asdict(options),
            file=str(file),
            output=str(output),
            method=method,
            ema=ema,
            state=state,
            target_name=target,
            drawn=drawn,
            **others,
        )
        made: dict[str, Any] = child.answer()
        checked(child, ShownReport.from_json, made)
        check_outline(child, made, drawn)
        checked(child, open_checkpoint, file)
        try:
            put_in_place(file, output)
        except OSError as error:
            raise cannot_write(output, error) from error
    return made


def _values(found: Outlined, source: str, drawn: bool) -> dict[str, Any]:
    from transfer.planning.outline import outlined

    return outlined(found, source) if drawn else found.to_json()


def _named(codes: Mapping[str, tuple[str, str | None]]) -> str:
    """Name the code for messages."""
    return " and ".join(dict.fromkeys(spec for spec, _ in codes.values()))


def _ask_about(child: Child, role: str, spec: str, example: str | None) -> None:
    child.ask("open", role=role, spec=spec, example=example, device="meta")
    child.ask("describe", role=role, called=name_for(spec))


def _told(child: Child) -> Resolved:
    child.answer()
    return described(child)
