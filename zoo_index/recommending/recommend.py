"""Which source for a target: shortlist by embedding, exact scores, a total order, the facts people choose by."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer.alignment.any_order import Common, in_common, was_run
from transfer.alignment.matching import match, plain_similarity
from transfer.options import Options
from transfer.planning.plans import plan_alignment
from transfer.planning.sides import Sides
from transfer.structure.records import Architecture, Block, Form
from zoo_index.database.entries import Entries, Entry
from zoo_index.errors import NothingFoundError
from zoo_index.foundation.garbage import without_collections
from zoo_index.index import embedding
from zoo_index.index.search import Search
from zoo_index.recommending.answers import Filters, Recommendation, Recommendations
from zoo_index.recommending.candidates import Candidates, find_candidates
from zoo_index.recommending.closer_look import compare_closely
from zoo_index.recommending.ordering import by_quality, leading, order_sources
from zoo_index.recommending.resolve import Resolved
from zoo_index.recommending.unknown_values import unknown_values
from zoo_index.recommending.verdicts import Verdict, verdict

__all__ = ["recommend"]

_MOST_TIED = 128
"""Sources that are compared more closely because they are as similar as the last of those."""

_N_COMPARED = 32
"""Sources, the best ones at their true widths, that are compared at the scale that suits them best."""

_COVERAGE = Options(channels="leading", rescale=False, quiet_head=False)
"""Which channels are taken and what they are multiplied by makes no difference to how much is covered."""


@without_collections()
def recommend(
    search: Search,
    entries: Entries,
    target: Resolved,
    *,
    k: int,
    form: Form,
    exact: bool,
    filters: Filters,
    find: Callable[[Entry], Path | None],
) -> Recommendations:
    """Rank the architectures of the entries that pass some filters as sources for a target.

    Parameters
    ----------
    search : Search
    entries : Entries
    target : Resolved
    k : int
        Number of results.
    form : {'dpiat', 'paper'}
        The measure.
    exact : bool
        Score every architecture instead of a shortlist, however many there are.
    filters : Filters
    find : callable
        Returns the file with the weights of an entry, if it is on this machine.

    Returns
    -------
    Recommendations

    Raises
    ------
    NothingFoundError
        If there is nothing to rank, or none has anything in common with the target.
    """
    started = time.perf_counter()
    wanted = target.forms[form]
    found = _candidates(search, entries, wanted, k=k, exact=exact, filters=filters, find=find)
    chosen = found.table
    scores = embedding.target_row(wanted, chosen)
    weights: dict[int, list[Entry]] = {}
    agreements: dict[int, float] = {}
    read: dict[int, Sides] = {}

    def weights_of(row: int) -> list[Entry]:
        id_ = int(chosen.ids[row])
        if id_ not in weights:
            weights[id_] = sorted(found.entries[id_], key=by_quality)
        return weights[id_]

    def order(rows: NDArray[np.intp]) -> NDArray[np.intp]:
        entries_ = [weights_of(row)[0] for row in rows.tolist()]
        places = order_sources(
            scores[rows],
            chosen.n_scoring[rows],
            wanted.n_scoring,
            [entry["top1"] for entry in entries_],
            [entry["n_params"] for entry in entries_],
            target.n_params,
            [entry["name"] for entry in entries_],
            [
                _likeness(entry, target, agreements.get(row, 1.0))
                for entry, row in zip(entries_, rows.tolist(), strict=True)
            ],
        )
        return rows[places]

    def file_of(row: int) -> Path | None:
        return next(filter(None, map(find, weights_of(row))), None)

    n_compared = max(2 * k, _N_COMPARED)
    best = leading(np.flatnonzero(scores > 0), scores, n_compared)
    if len(best) > max(n_compared, _MOST_TIED):
        best = order(best)[: max(n_compared, _MOST_TIED)]
    if not len(best):
        raise NothingFoundError(
            f"expected a source with layers like those of {target.name!r}, no architecture of the index has any; "
            "train this one from random initialisation"
        )
    if form == "dpiat":
        look = compare_closely(search, chosen, wanted, best, scores, k=k, file_of=file_of)
        best, scores, read, agreements = look.rows, look.scores, look.read, look.agreements
    best = order(best)[:k]
    ids = chosen.ids[best].tolist()
    sources = search.architectures(ids, "dpiat") if "dpiat" in target.forms else {}
    published = search.shapes(ids, "paper") if "paper" in target.forms else {}
    results = tuple(
        _result(
            number,
            weights_of(row),
            float(scores[row]),
            target,
            *_covered(sources.get(id_), read.get(id_), target),
            published.get(id_),
            find,
        )
        for number, (row, id_) in enumerate(zip(best.tolist(), ids, strict=True), start=1)
    )
    return Recommendations(
        target=_summary(target),
        measure=form,
        results=results,
        n_considered=found.n_considered,
        n_scored=len(chosen.ids),
        seconds=time.perf_counter() - started,
    )


def _candidates(
    search: Search,
    entries: Entries,
    target: Architecture,
    *,
    k: int,
    exact: bool,
    filters: Filters,
    find: Callable[[Entry], Path | None],
) -> Candidates:
    """Find the sources to score; where there are none, say which values of the filters the index does not have."""
    try:
        return find_candidates(
            search,
            entries,
            target,
            k=k,
            exact=exact,
            admits=lambda entry: filters.admits(entry) and (not filters.available or find(entry) is not None),
            filters=filters.describe(),
        )
    except NothingFoundError as error:
        unknown = unknown_values(filters, entries.all)
        if not unknown:
            raise
        raise NothingFoundError(
            f"expected sources that pass the filters ({filters.describe()}), found none; {'; '.join(unknown)}"
        ) from error


def _likeness(entry: Entry, target: Resolved, agreed: float) -> float:
    """How likely a source of equal shapes computes what the target does; 2 for the target itself."""
    return 2.0 if target.name in (entry["name"], entry["architecture"]) else agreed


def _covered(source: Architecture | None, read: Sides | None, target: Resolved) -> tuple[float, Verdict | None]:
    """Say how much of the target a plan would fill, and what to expect of it."""
    if source is None:
        return 0.0, None
    wanted, options = target.forms["dpiat"], _COVERAGE
    if read is not None:
        source, options = read.source, read.allowed(_COVERAGE)
    plan = plan_alignment(match(source, wanted), wanted, options=options)
    common = Common(0.0, 0.0) if was_run(source) else in_common(source, wanted)
    coverage = plan.coverage if read is not None else max(plan.coverage, common.coverage)
    return coverage, verdict(max(plan.similarity, common.similarity))


def _result(
    number: int,
    alternatives: Sequence[Entry],
    score: float,
    target: Resolved,
    coverage: float,
    judged: Verdict | None,
    published: Architecture | None,
    find: Callable[[Entry], Path | None],
) -> Recommendation:
    # the preferred weights that are here, else the preferred ones
    here = next((entry for entry in alternatives if find(entry) is not None), None)
    shown = here or alternatives[0]
    return Recommendation(
        rank=number,
        name=shown["name"],
        architecture=shown["architecture"],
        family=shown["family"],
        catalogue=shown["catalogue"],
        similarity=score,
        paper_similarity=plain_similarity(published, target.forms["paper"]) if published else None,
        coverage=coverage,
        params=shown["n_params"],
        license=shown["license"],
        available=here is not None,
        input_size=shown["input_size"],
        n_classes=shown["n_classes"],
        top1=shown["top1"],
        n_weights=len(alternatives),
        benefit=judged.benefit if judged else None,
        evidence=judged.evidence if judged else "",
    )


def _summary(target: Resolved) -> dict[str, Any]:
    architecture = target.forms.get("dpiat") or next(iter(target.forms.values()))
    return {
        "name": target.name,
        "fingerprint": architecture.fingerprint,
        "params": target.n_params,
        "layers": architecture.n_scoring,
        "blocks": sum(isinstance(item, Block) for item in architecture.items),
        "single_layers": sum(not isinstance(item, Block) and bool(item.tensors) for item in architecture.items),
    }
