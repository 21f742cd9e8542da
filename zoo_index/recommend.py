"""Which source for a target: shortlist by embedding, exact scores, a total order, the facts people choose by."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer.alignment.matching import match, plain_similarity
from transfer.alignment.similarity import best_similarity
from transfer.alignment.towers import subtrees
from transfer.planning.plans import plan_alignment
from transfer.structure.behaviour import agreement
from transfer.structure.records import Architecture, Block, Form
from zoo_index.answers import Filters, Recommendation, Recommendations
from zoo_index.candidates import find_candidates
from zoo_index.entries import Entries, Entry
from zoo_index.errors import NothingFoundError
from zoo_index.garbage import without_collections
from zoo_index.index import embedding
from zoo_index.index.search import Search
from zoo_index.resolve import Resolved
from zoo_index.verdicts import verdict

__all__ = ["order_sources", "recommend"]

_MOST_TIED = 128
"""Sources that are compared more closely because they are as similar as the last of those."""

_N_COMPARED = 32
"""Sources, the best ones at their true widths, that are compared at the scale that suits them best."""


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
    is_available: Callable[[Entry], bool],
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
    is_available : callable
        Whether the weights of an entry are on this machine.

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
    found = find_candidates(
        search,
        entries,
        wanted,
        k=k,
        exact=exact,
        admits=lambda entry: filters.admits(entry) and (not filters.available or is_available(entry)),
        filters=filters.describe(),
    )
    chosen = found.table
    scores = embedding.target_row(wanted, chosen)
    weights = {id_: sorted(entries_, key=_by_quality) for id_, entries_ in found.entries.items()}
    preferred = [weights[id_][0] for id_ in chosen.ids.tolist()]

    def order(rows: NDArray[np.intp]) -> NDArray[np.intp]:
        entries_ = [preferred[row] for row in rows]
        places = order_sources(
            scores[rows],
            chosen.n_scoring[rows],
            wanted.n_scoring,
            [entry["top1"] for entry in entries_],
            [entry["n_params"] for entry in entries_],
            target.n_params,
            [entry["name"] for entry in entries_],
            [_likeness(preferred[row], target, agreements.get(int(row), 1.0)) for row in rows],
        )
        return rows[places]

    agreements: dict[int, float] = {}
    best = order(np.flatnonzero(scores > 0))
    n_compared = max(2 * k, _N_COMPARED)
    if len(best) > n_compared:
        n_tied = int((scores[best] > scores[best[n_compared - 1]] - 1e-12).sum())
        best = best[: max(n_compared, min(n_tied, _MOST_TIED))]
    if not len(best):
        raise NothingFoundError(
            f"expected a source with layers like those of {target.name!r}, no architecture of the index has any; "
            "train this one from random initialisation"
        )
    if form == "dpiat":
        regrouped = embedding.grouped_otherwise(wanted, chosen, scores)
        known = search.architectures(chosen.ids[np.union1d(best, regrouped)].tolist(), form)
        for row in regrouped:
            scores[row] = plain_similarity(known[int(chosen.ids[row])], wanted)
        best = order(np.union1d(best, regrouped))
        least = float(scores[best[k - 1]]) if len(best) >= k else 0.0  # what is below cannot be among the first k
        trees = subtrees(wanted)
        for row in best:
            source = known[int(chosen.ids[row])]
            scores[row] = best_similarity(source, wanted, float(scores[row]), least=least, trees=trees)
            agreements[int(row)] = agreement(source, wanted)
        best = order(best)
    best = best[:k]
    ids = [int(chosen.ids[row]) for row in best]
    sources = {wanted_form: search.architectures(ids, wanted_form) for wanted_form in target.forms}
    results = tuple(
        _result(number, weights[id_], float(scores[row]), target, _forms_of(sources, id_), is_available)
        for number, (row, id_) in enumerate(zip(best, ids, strict=True), start=1)
    )
    return Recommendations(
        target=_summary(target),
        measure=form,
        results=results,
        n_considered=found.n_considered,
        n_scored=len(chosen.ids),
        seconds=time.perf_counter() - started,
    )


def _likeness(entry: Entry, target: Resolved, agreed: float) -> float:
    """How likely a source of equal shapes computes what the target does; 2 for the target itself."""
    return 2.0 if target.name in (entry["name"], entry["architecture"]) else agreed


def _by_quality(entry: Entry) -> tuple[float, int]:
    """Order weights of one architecture: published accuracy, known before unknown, then the catalogue's order."""
    return (0.0 if entry["top1"] is None else -entry["top1"], entry["position"])


def _forms_of(sources: Mapping[Form, Mapping[int, Architecture]], id_: int) -> dict[Form, Architecture]:
    return {form: found[id_] for form, found in sources.items() if id_ in found}


def _result(
    number: int,
    alternatives: Sequence[Entry],
    score: float,
    target: Resolved,
    source: Mapping[Form, Architecture],
    is_available: Callable[[Entry], bool],
) -> Recommendation:
    # the preferred weights that are here, else the preferred ones
    here = next((entry for entry in alternatives if is_available(entry)), None)
    shown = here or alternatives[0]
    similar: dict[Form, float] = {}
    coverage = 0.0
    for form, wanted in target.forms.items():
        if form not in source:
            continue
        alignment = match(source[form], wanted, method=form)
        similar[form] = alignment.similarity
        if form == "dpiat":
            plan = plan_alignment(alignment, wanted)
            similar[form], coverage = plan.similarity, plan.coverage
    judged = verdict(similar["dpiat"]) if "dpiat" in similar else None
    return Recommendation(
        rank=number,
        name=shown["name"],
        architecture=shown["architecture"],
        family=shown["family"],
        catalogue=shown["catalogue"],
        similarity=score,
        paper_similarity=similar.get("paper"),
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
    }


def order_sources(
    scores: NDArray[np.float64],
    n_scoring: NDArray[np.int64],
    n_target: int,
    accuracies: Sequence[float | None],
    sizes: Sequence[int],
    target_size: int,
    names: Sequence[str],
    likeness: Sequence[float],
) -> list[int]:
    """Rows of the sources, best first, in a total order.

    Ties are common: under the published measure half of timm's architectures have another one at exactly 1.
    The order is: similarity; then how far the layers do the same; then the symmetric similarity (fewer source
    layers that go unused); then the published accuracy, known before unknown; then the number of parameters nearest
    to the target's; then the name.

    Parameters
    ----------
    scores : ndarray of shape (n,), float64
    n_scoring : ndarray of shape (n,), int64
        Scoring layers of each source.
    n_target : int
        Scoring layers of the target.
    accuracies : sequence of float or None
        Published, of each source.
    sizes : sequence of int
        Parameters of each source.
    target_size : int
        Parameters of the target.
    names : sequence of str
    likeness : sequence of float
        How likely each source computes what the target does.

    Returns
    -------
    list of int
    """

    def key(row: int) -> tuple[float, float, float, float, float, str]:
        surplus = math.log(max(int(n_scoring[row]), 1) / max(n_target, 1))
        size = abs(math.log(max(sizes[row], 1) / max(target_size, 1)))
        # rounded: equal networks whose sums were added up in another order stay equal
        known = accuracies[row]
        quality = 0.0 if known is None else -known
        like = -round(likeness[row], 12)
        return (-round(float(scores[row]), 12), like, max(surplus, 0.0), quality, round(size, 12), names[row])

    return sorted(range(len(scores)), key=key)
