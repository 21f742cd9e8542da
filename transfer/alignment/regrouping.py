"""The same layers in other groups: code cuts a network into modules as it likes, and blocks follow modules.

A block matches only blocks, so a network whose code groups layers otherwise would match nothing. Here layers are
aligned without any blocks first; then the source is cut where its counterparts in the target are cut.
"""

from __future__ import annotations

from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from transfer.alignment import _kernels
from transfer.alignment.ranking import layer_scores
from transfer.alignment.tables import table_of
from transfer.structure.layers import is_weighted
from transfer.structure.records import Architecture, Block, Item

__all__ = ["cut_like"]

_Label = tuple[int, int]
"""Item of the target, or -1, and where there is none, item of the source."""


def cut_like(source: Architecture, target: Architecture, scores: NDArray[np.float64] | None = None) -> Architecture:
    """Group the layers of a source as a target groups the layers like them.

    Parameters
    ----------
    source, target : Architecture
        In ``dpiat`` form.
    scores : ndarray of shape (n_source_layers, n_target_layers), float64, optional
        Of all layers in order, where they are not to be compared at their true widths.

    Returns
    -------
    Architecture
        The layers of the source in their order. What has no counterpart stays in groups as it was.
    """
    if scores is None:
        own, other = table_of(source), table_of(target)
        scores = layer_scores(other, own)[np.ix_(own.order, other.order)]
    layers, places = list(source.layers()), _items_of(source)
    fed_items = _items_of(target)
    label: list[_Label | None] = [None] * len(layers)
    for t, s in _kernels.trace(scores.T).tolist()[::-1]:
        label[s] = fed_items[t], -1
    ahead = _next_labels(label)
    last: _Label | None = None
    labels: list[_Label] = []
    for i, given in enumerate(label):
        if given is None:
            between = last == ahead[i] and last is not None
            given = last if between and last is not None else (-1, places[i])
        else:
            last = given
        labels.append(given)
    items: list[Item] = []
    for (t, s), members in groupby(range(len(layers)), key=labels.__getitem__):
        run = tuple(layers[i] for i in members)
        if t >= 0:
            is_block = isinstance(target.items[t], Block)
        else:
            is_block = isinstance(source.items[s], Block) and sum(map(is_weighted, run)) >= 2
        items += [Block(run)] if is_block else run
    return Architecture("dpiat", tuple(items))


def _items_of(architecture: Architecture) -> list[int]:
    return [i for i, item in enumerate(architecture.items) for _ in item.layers]


def _next_labels(labels: list[_Label | None]) -> list[_Label | None]:
    """For each place the label at it or behind it."""
    found: list[_Label | None] = []
    ahead: _Label | None = None
    for label in reversed(labels):
        ahead = label if label is not None else ahead
        found.append(ahead)
    return found[::-1]
