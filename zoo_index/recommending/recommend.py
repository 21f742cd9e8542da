"""Which source for a target: shortlist by embedding, exact scores, a total order, the facts people choose by."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from transfer.alignment.any_order import Common, in_common, was_run
from transfer.alignment.matching import match, plain_similarity
from transfer.alignment.similarity import best_similarity
from transfer.alignment.towers import subtrees
from transfer.options import Options
from transfer.planning.plans import plan_alignment
from transfer.structure.behaviour import agreement
from transfer.structure.records import Architecture, Block, Form
from zoo_index.database.entries import Entries, Entry
from zoo_index.errors import NothingFoundError
from zoo_index.foundation.garbage import without_collections
from zoo_index.index import embedding
from zoo_index.index.search import Search
from zoo_index.recommending.answers import Filters, Recommendation, Recommendations
from zoo_index.recommending.candidates import find_candidates
from zoo_index.recommending.resolve import Resolved
from zoo_index.recommending.unknown_values import unknown_values
from zoo_index.recommending.verdicts import verdict

__all__ = ["by_quality", "order_sources", "recommend"]

_MOST_TIED = 128
"""Sources that are compared more closely because they are as similar as the last of those."""

_N_COMPARED = 32
"""Sources, the best ones at their true widths, that are compared at the scale that suits them best."""


_DIGITS = 12
"""Scores that agree in so many are equal: sums were added up in another order."""

_TIE = 1e-12

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
    try:
        found = find_candidates(
            search,
            entries,
            wanted,
            k=k,
            exact=exact,
            admits=lambda entry: filters.admits(entry) and (not filters.available or is_available(entry)),
            filters=filters.describe(),
        )
    except NothingFoundError as error:
        unknown = unknown_values(filters, entries.all)
        if not unknown:
            raise
        raise NothingFoundError(
            f"expected sources that pass the filters ({filters.describe()}), found none; {'; '.join(unknown)}"
        ) from error
    chosen = found.table
    scores = embedding.target_row(wanted, chosen)
    weights: dict[int, list[Entry]] = {}

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

    agreements: dict[int, float] = {}
    n_compared = max(2 * k, _N_COMPARED)
    best = _leading(np.flatnonzero(scores > 0), scores, n_compared)
    if len(best) > max(n_compared, _MOST_TIED):
        best = order(best)[: max(n_compared, _MOST_TIED)]
    if not len(best):
        raise NothingFoundError(
            f"expected a source with layers like those of {target.name!r}, no architecture of the index has any; "
            "train this one from random initialisation"
        )
    if form == "dpiat":
        regrouped = embedding.grouped_otherwise(wanted, chosen, scores)
        best = np.union1d(best, regrouped)
        trees = subtrees(wanted)
        ids = chosen.ids[best].tolist()
        known = (search.architectures if len(trees) > 1 else search.shapes)(ids, form)  # towers are found by names
        unordered = search.by_header(ids)
        for row in regrouped:
            scores[row] = plain_similarity(known[int(chosen.ids[row])], wanted)
        # what is below cannot be among the first k
        least = float(np.sort(scores[best])[-k]) if len(best) >= k else 0.0
        for row, id_ in zip(best, ids, strict=True):
            scores[row] = best_similarity(
                known[id_], wanted, float(scores[row]), least=least, trees=trees, is_ordered=id_ not in unordered
            )
        best = _leading(best, scores, k)
        known = search.architectures(chosen.ids[best].tolist(), form)
        for row in _tied(best, scores):
            agreements[row] = agreement(known[int(chosen.ids[row])], wanted)
    best = order(best)[:k]
    ids = chosen.ids[best].tolist()
    sources = search.architectures(ids, "dpiat") if "dpiat" in target.forms else {}
    published = search.shapes(ids, "paper") if "paper" in target.forms else {}
    results = tuple(
        _result(
            number, weights_of(row), float(scores[row]), target, sources.get(id_), published.get(id_), is_available
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


def _leading(rows: NDArray[np.intp], scores: NDArray[np.float64], n: int) -> NDArray[np.intp]:
    """Rows of the `n` highest scores and of all that are as high as the last of these."""
    if len(rows) <= n:
        return rows
    least = np.sort(scores[rows])[-n] - _TIE
    return np.array(rows[scores[rows] > least])


def _tied(rows: NDArray[np.intp], scores: NDArray[np.float64]) -> list[int]:
    """Rows that others are as high as."""
    levels = [round(score, _DIGITS) for score in scores[rows].tolist()]
    times = Counter(levels)
    return [row for row, level in zip(rows.tolist(), levels, strict=True) if times[level] > 1]


def _likeness(entry: Entry, target: Resolved, agreed: float) -> float:
    """How likely a source of equal shapes computes what the target does; 2 for the target itself."""
    return 2.0 if target.name in (entry["name"], entry["architecture"]) else agreed


def by_quality(entry: Entry) -> tuple[float, int]:
    """Order weights of one architecture: published accuracy, known before unknown, then the catalogue's order."""
    return (0.0 if entry["top1"] is None else -entry["top1"], entry["position"])


def _result(
    number: int,
    alternatives: Sequence[Entry],
    score: float,
    target: Resolved,
    source: Architecture | None,
    published: Architecture | None,
    is_available: Callable[[Entry], bool],
) -> Recommendation:
    # the preferred weights that are here, else the preferred ones
    here = next((entry for entry in alternatives if is_available(entry)), None)
    shown = here or alternatives[0]
    coverage, judged = 0.0, None
    if source is not None:
        wanted = target.forms["dpiat"]
        plan = plan_alignment(match(source, wanted), wanted, options=_COVERAGE)
        common = Common(0.0, 0.0) if was_run(source) else in_common(source, wanted)
        coverage = max(plan.coverage, common.coverage)
        judged = verdict(max(plan.similarity, common.similarity))
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
        known = accuracies[row]
        quality = 0.0 if known is None else -known
        like = -round(likeness[row], 12)
        return (-round(float(scores[row]), _DIGITS), like, max(surplus, 0.0), quality, round(size, 12), names[row])

    return sorted(range(len(scores)), key=key)
