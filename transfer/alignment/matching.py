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
from transfer.alignment.tables import tabulate
from transfer.structure.records import Architecture, Block, Item, Layer
from transfer.structure.standardization import check_form, standardize

if TYPE_CHECKING:
    from transfer.structure.standardization import NetworkLike

__all__ = ["Alignment", "LayerPair", "match", "match_layers", "similarity"]


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
        """Normalised value, in [0, 1], under the measure of the architectures' form."""
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
    scores = _scores(source_form, target_form)
    for t, s in _kernels.trace(scores):
        for layer_s, layer_t, score in _pairs_of_items(source_form.items[s], target_form.items[t], scores[t, s]):
            pairs.append(LayerPair(layer_s, layer_t, score, int(s), int(t)))
    return Alignment(source_form, target_form, tuple(pairs), float(_kernels.align_value(scores)))


def similarity(source: NetworkLike, target: NetworkLike, *, measure: str = "dpiat") -> float:
    """How much of the target the source can supply.

    Parameters
    ----------
    source, target : nn.Module, state dict, Checkpoint, path or Architecture
    measure : {'dpiat', 'paper'}
        See `ranking.similarities` for the formulas.

    Returns
    -------
    float
        In [0, 1]. Not symmetric under ``paper``.
    """
    form = check_form(measure, "measure")
    source_form = standardize(source, method=form)
    target_form = standardize(target, method=form)
    value = float(_kernels.align_value(_scores(source_form, target_form)))
    return Alignment(source_form, target_form, (), value).similarity


def _scores(source: Architecture, target: Architecture) -> NDArray[np.float64]:
    """Scores of all top-level items, of shape (n_target, n_source)."""
    target_table = tabulate([target], form=target.form)
    source_table = tabulate([source], form=target.form, kinds=target_table.kinds)
    distinct = item_scores(target_table, source_table)
    return distinct[np.ix_(source_table.item, target_table.item)].T


def _pairs_of_items(source: Item, target: Item, score: float) -> Iterator[tuple[Layer, Layer, float]]:
    if isinstance(source, Layer) and isinstance(target, Layer):
        yield source, target, float(score)
        return
    assert isinstance(source, Block)
    assert isinstance(target, Block)
    yield from match_layers(source.layers, target.layers)


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
    scores = _scores(Architecture("dpiat", tuple(source)), Architecture("dpiat", tuple(target)))
    for t, s in _kernels.trace(scores):
        yield source[s], target[t], float(scores[t, s])
