"""Matching: which source layer feeds which target layer, and how much of the target that supplies.

Blocks and top-level layers are aligned by one dynamic programme, the layers of a matched pair of blocks by
another (arXiv 2212.13970, matching). Both forms use the same programme; they differ in what a layer is
(see `standardization`) and in how the score is normalised (see `ranking.similarities`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from transfer.alignment import _kernels
from transfer.alignment.ranking import item_scores, layer_scores, similarities
from transfer.alignment.regrouping import cut_like
from transfer.alignment.roles import by_role
from transfer.alignment.tables import Table, table_of
from transfer.structure.layers import share_positions
from transfer.structure.records import Architecture, Block, Layer
from transfer.structure.standardization import standardize

if TYPE_CHECKING:
    from transfer.structure.headers import NetworkLike

__all__ = ["MANY", "Alignment", "LayerPair", "compared", "match", "match_layers", "plain_similarity"]

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
    if source_form.form == "dpiat" and source_form.is_like(target_form):  # every layer is its own best match
        pairs: list[LayerPair] = []
        for i, (own, other) in enumerate(zip(source_form.items, target_form.items, strict=True)):
            both = zip(own.layers, other.layers, strict=True)
            pairs += [LayerPair(a, b, 1.0, i, i) for a, b in both if a.dims is not None]
        return Alignment(source_form, target_form, tuple(pairs), float(target_form.n_scoring))
    return compared(source_form, target_form).align()


def plain_similarity(source: Architecture, target: Architecture) -> float:
    """Similarity at true widths, without the alignment that gives it; in a fraction of the time.

    Parameters
    ----------
    source, target : Architecture
        In the same form.
    """
    return compared(source, target).similarity


@dataclass(frozen=True)
class Compared:
    """Two architectures whose layers have been scored against each other.

    Parameters
    ----------
    source, target : Architecture
    table, target_table : Table
        Of the source, perhaps with other widths, and of the target.
    layers : ndarray of shape (n_source_layers, n_target_layers), float64
        Scores of distinct layers.
    """

    source: Architecture
    target: Architecture
    table: Table
    target_table: Table
    layers: NDArray[np.float64]

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """Scores of all items, of shape (n_target, n_source)."""
        distinct = item_scores(self.target_table, self.table, self.layers)
        return distinct[self.table.item[:, None], self.target_table.item[None, :]].T

    @cached_property
    def value(self) -> float:
        """V(source, target)."""
        return float(_kernels.align_value(self.scores))

    @property
    def similarity(self) -> float:
        """The value, normalised."""
        return Alignment(self.source, self.target, (), self.value).similarity

    @property
    def n_shared(self) -> float:
        """Number of layers that both have in common, whatever their order and grouping."""
        own, other = (np.bincount(t.order, minlength=len(t.layer_kind)) for t in (self.table, self.target_table))
        return float(np.minimum(own @ (self.layers == 1.0), other).sum())

    def regrouped(self) -> Compared:
        """Group the layers of the source as the target has them."""
        order = self.table.order
        source = cut_like(self.source, self.target, self.layers[order[:, None], self.target_table.order[None, :]])
        rows = iter(order.tolist())
        items = [(not isinstance(i, Block), tuple(islice(rows, len(i.layers)))) for i in source.items]
        return Compared(source, self.target, self.table.with_items(items), self.target_table, self.layers)

    def align(self) -> Alignment:
        """Find which layer feeds which."""
        pairs: list[LayerPair] = []
        known: dict[tuple[int, int], list[tuple[int, int, float]]] = {}  # most blocks occur more than once
        scores, sources, targets = self.scores, self.table.item.tolist(), self.target_table.item.tolist()
        path = scores if self.target.form == "paper" else by_role(scores, self.source, self.target)
        for t, s in _kernels.trace(path).tolist():
            own, other = self.source.items[s].layers, self.target.items[t].layers
            places = sources[s], targets[t]
            if places not in known:
                if isinstance(self.source.items[s], Block):
                    rows, columns = self.table.layers_of(places[0]), self.target_table.layers_of(places[1])
                    found = _layer_places(own, other, self.layers[rows[:, None], columns[None, :]])
                    known[places] = list(found)
                else:
                    known[places] = [(0, 0, float(scores[t, s]))] if share_positions(own[0], other[0]) else []
            pairs += [LayerPair(own[i], other[j], score, s, t) for i, j, score in known[places]]
        return Alignment(self.source, self.target, tuple(pairs), self.value)


def compared(source: Architecture, target: Architecture, table: Table | None = None) -> Compared:
    """Score two architectures; where that helps, with the layers of the source grouped otherwise.

    Parameters
    ----------
    source, target : Architecture
        In the same form.
    table : Table, optional
        Of the source, with the widths that it is to be compared with.
    """
    own, other = table_of(source) if table is None else table, table_of(target)
    found = Compared(source, target, own, other, layer_scores(other, own))
    if target.form == "dpiat" and found.n_shared - found.value > MANY * target.n_scoring:
        cut = found.regrouped()
        found = cut if cut.value > found.value else found
    return found


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
    own, other = (table_of(Architecture("dpiat", tuple(layers))) for layers in (source, target))
    scores = layer_scores(other, own)[own.order[:, None], other.order[None, :]]
    for i, j, score in _layer_places(source, target, scores):
        yield source[i], target[j], score


def _layer_places(
    source: Sequence[Layer], target: Sequence[Layer], scores: NDArray[np.float64]
) -> Iterator[tuple[int, int, float]]:
    """Align layers by their scores, of shape (n_source, n_target)."""
    for t, s in _kernels.trace(scores.T).tolist():
        if share_positions(source[s], target[t]):
            yield s, t, float(scores[s, t])
