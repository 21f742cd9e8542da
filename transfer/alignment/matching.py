"""Matching: which source layer feeds which target layer, and how much of the target that supplies.

Blocks and top-level layers are aligned by one dynamic programme, the layers of a matched pair of blocks by
another (arXiv 2212.13970, matching). Both forms use the same programme; they differ in what a layer is
(see `standardization`) and in how the score is normalised (see `ranking.similarities`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from transfer.alignment import _kernels
from transfer.alignment.ranking import item_scores, similarities
from transfer.alignment.roles import by_role
from transfer.alignment.tables import Table, tabulate
from transfer.structure.records import Architecture, Block, Layer
from transfer.structure.standardization import standardize

if TYPE_CHECKING:
    from transfer.structure.standardization import NetworkLike

__all__ = ["Alignment", "LayerPair", "match", "match_layers", "plain_similarity"]


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
    source_table, target_table = _tables(source_form, target_form)
    scores = _item_scores(source_table, target_table)
    known: dict[tuple[int, int], list[tuple[int, int, float]]] = {}  # most blocks occur more than once
    path = scores if target_form.form == "paper" else by_role(scores, source_form, target_form)
    for t, s in _kernels.trace(path).tolist():
        own, other = source_form.items[s].layers, target_form.items[t].layers
        places = int(source_table.item[s]), int(target_table.item[t])
        if places not in known:
            is_block = isinstance(source_form.items[s], Block)
            known[places] = list(_layer_places(own, other)) if is_block else [(0, 0, float(scores[t, s]))]
        pairs += [LayerPair(own[i], other[j], score, s, t) for i, j, score in known[places]]
    return Alignment(source_form, target_form, tuple(pairs), float(_kernels.align_value(scores)))


def plain_similarity(source: Architecture, target: Architecture) -> float:
    """Similarity at true widths, without the alignment that gives it; in a fraction of the time.

    Parameters
    ----------
    source, target : Architecture
        In the same form.
    """
    value = float(_kernels.align_value(_scores(source, target)))
    return Alignment(source, target, (), value).similarity


def _scores(source: Architecture, target: Architecture) -> NDArray[np.float64]:
    """Scores of all top-level items, of shape (n_target, n_source)."""
    return _item_scores(*_tables(source, target))


def _tables(source: Architecture, target: Architecture) -> tuple[Table, Table]:
    target_table = tabulate([target], form=target.form)
    return tabulate([source], form=target.form, kinds=target_table.kinds), target_table


def _item_scores(source: Table, target: Table) -> NDArray[np.float64]:
    return item_scores(target, source)[np.ix_(source.item, target.item)].T


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
    scores = _scores(Architecture("dpiat", tuple(source)), Architecture("dpiat", tuple(target)))
    for t, s in _kernels.trace(scores).tolist():
        yield s, t, float(scores[t, s])
