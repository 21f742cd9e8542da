"""Matching: which source layer feeds which target layer, and how much of the target that supplies.

Blocks and top-level layers are aligned by one dynamic programme, the layers of a matched pair of blocks by
another (arXiv 2212.13970, matching). Both forms use the same programme; they differ in what a layer is
(see `standardization`) and in how the score is normalised (see `ranking.similarities`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from transfer.alignment import _kernels
from transfer.alignment.ranking import item_scores, similarities
from transfer.alignment.regrouping import cut_like
from transfer.alignment.roles import by_role
from transfer.alignment.tables import Table, n_shared_layers, tabulate
from transfer.structure.meaning import share_positions
from transfer.structure.records import Architecture, Block, Layer
from transfer.structure.standardization import standardize

if TYPE_CHECKING:
    from transfer.structure.standardization import NetworkLike

__all__ = ["MANY", "Alignment", "LayerPair", "match", "match_layers", "plain_similarity"]

MANY = 0.05
"""If so much of the target is in the source and the alignment does not reach it, layers are grouped otherwise."""


@dataclass(frozen=True, slots=True)
class LayerPair:
    """One source layer feeding one target layer.

    Parameters
    ----------
    source, target : Layer
    score : float
        Shape score, in (0, 1].
    source_item, target_item : int
        Positions of the blocks they lie in, or of themselves, in their architectures.
    """

    source: Layer
    target: Layer
    score: float
    source_item: int
    target_item: int


@dataclass(frozen=True)
class Alignment:
    """What feeds what.

    Parameters
    ----------
    source, target : Architecture
        In the same form.
    pairs : tuple of LayerPair
        In the order of the target; each target layer at most once.
    value : float
        V(source, target), not normalised.
    """

    source: Architecture
    target: Architecture
    pairs: tuple[LayerPair, ...]
    value: float

    @property
    def similarity(self) -> float:
        """Normalised value, in [0, 1], under the measure of the architectures' form, at their true widths."""
        return float(
            similarities(
                np.array([self.value]),
                self.target.n_scoring,
                np.array([self.source.n_scoring]),
                measure=self.target.form,
            )[0]
        )


def match(source: NetworkLike, target: NetworkLike, *, method: str = "dpiat") -> Alignment:
    """Align the layers of a source with the layers of a target.

    Parameters
    ----------
    source, target : nn.Module, state dict, Checkpoint, path or Architecture
    method : {'dpiat', 'paper'}

    Returns
    -------
    Alignment

    Raises
    ------
    MethodError
        If `method` is unknown or does not apply to an argument (see `standardization`).
    """
    source_form = standardize(source, method=method)
    target_form = standardize(target, method=method)
    pairs: list[LayerPair] = []
    if source_form.form == "dpiat" and source_form.is_like(target_form):  # every layer is its own best match
        for i, (own, other) in enumerate(zip(source_form.items, target_form.items, strict=True)):
            both = zip(own.layers, other.layers, strict=True)
            pairs += [LayerPair(a, b, 1.0, i, i) for a, b in both if a.dims is not None]
        return Alignment(source_form, target_form, tuple(pairs), float(target_form.n_scoring))
    found = _scored(source_form, target_form)
    source_form, source_table, target_table, scores = found.source, found.table, found.target_table, found.scores
    known: dict[tuple[int, int], list[tuple[int, int, float]]] = {}  # most blocks occur more than once
    path = scores if target_form.form == "paper" else by_role(scores, source_form, target_form)
    for t, s in _kernels.trace(path).tolist():
        own, other = source_form.items[s].layers, target_form.items[t].layers
        places = int(source_table.item[s]), int(target_table.item[t])
        if places not in known:
            is_block = isinstance(source_form.items[s], Block)
            if is_block:
                known[places] = list(_layer_places(own, other))
            else:
                known[places] = [(0, 0, float(scores[t, s]))] if share_positions(own[0], other[0]) else []
        pairs += [LayerPair(own[i], other[j], score, s, t) for i, j, score in known[places]]
    return Alignment(source_form, target_form, tuple(pairs), found.value)


def plain_similarity(source: Architecture, target: Architecture) -> float:
    """Similarity at true widths, without the alignment that gives it; in a fraction of the time.

    Parameters
    ----------
    source, target : Architecture
        In the same form.
    """
    return Alignment(source, target, (), _scored(source, target).value).similarity


@dataclass(frozen=True)
class _Scored:
    """Scores of all top-level items, of shape (n_target, n_source), and the value of their alignment."""

    source: Architecture
    table: Table
    target_table: Table
    scores: NDArray[np.float64]

    @cached_property
    def value(self) -> float:
        return float(_kernels.align_value(self.scores))


def _scored(source: Architecture, target: Architecture) -> _Scored:
    """Score the items of two architectures; where that helps, with the layers of the source grouped otherwise."""
    target_table = tabulate([target], form=target.form)
    found = _scored_with(source, target_table)
    if target.form == "dpiat":
        missing = int(n_shared_layers(found.table, target_table)[0]) - found.value
        if missing > MANY * target.n_scoring:
            other = _scored_with(cut_like(source, target), target_table)
            found = other if other.value > found.value else found
    return found


def _scored_with(source: Architecture, target: Table) -> _Scored:
    table = tabulate([source], form=target.form, kinds=target.kinds)
    return _Scored(source, table, target, item_scores(target, table)[np.ix_(table.item, target.item)].T)


def match_layers(source: Sequence[Layer], target: Sequence[Layer]) -> Iterator[tuple[Layer, Layer, float]]:
    """Align the layers of two blocks.

    Parameters
    ----------
    source, target : sequence of Layer

    Yields
    ------
    tuple of Layer, Layer, float
        Source, target and shape score.
    """
    for i, j, score in _layer_places(source, target):
        yield source[i], target[j], score


def _layer_places(source: Sequence[Layer], target: Sequence[Layer]) -> Iterator[tuple[int, int, float]]:
    target_table = tabulate([Architecture("dpiat", tuple(target))], form="dpiat")
    scores = _scored_with(Architecture("dpiat", tuple(source)), target_table).scores
    for t, s in _kernels.trace(scores).tolist():
        if share_positions(source[s], target[t]):
            yield s, t, float(scores[t, s])
