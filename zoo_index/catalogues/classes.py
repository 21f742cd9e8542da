"""How many classes the network of a weights file tells apart, where its tensors show it.

A classifier is the linear layer with a bias whose outputs no other layer takes: a file does not say which layer is
the last, as many are sorted by name. Where several layers could be it, or none, the number is not known.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from transfer.structure.layers import in_width, is_weighted, out_width
from transfer.structure.records import Block, Layer

if TYPE_CHECKING:
    from transfer.structure.records import Architecture

__all__ = ["count_classes"]

_FUSED = (2, 3)
"""Times as many outputs as inputs: key and value, or query, key and value. Nothing takes all of these either."""


def count_classes(architecture: Architecture) -> int:
    """Return the number of classes, 0 where it cannot be told.

    Parameters
    ----------
    architecture : Architecture
        In ``dpiat`` form, of a header.
    """
    layers = [layer for layer in architecture.layers() if is_weighted(layer)]
    like = Counter(layer.dims for layer in layers)
    taken = {in_width(layer) for layer in layers}
    for layer in architecture.layers():
        if not _may_end(layer):  # what a convolution writes, a norm has: it is inside
            taken.update(n for tensor in layer.tensors for n in tensor.shape[:2])
    single, inside = [], []
    for item in architecture.items:
        for layer in filter(_may_end, item.layers):
            if not isinstance(item, Block):
                single.append(layer)
            elif like[layer.dims] == 1 and out_width(layer) not in [n * in_width(layer) for n in _FUSED]:
                inside.append(layer)
    for some in (single, inside):  # blocks repeat what is no classifier
        widths = {out_width(layer) for layer in some} - taken
        if widths:
            return widths.pop() if len(widths) == 1 else 0
    return 0


def _may_end(layer: Layer) -> bool:
    return layer.kind == "linear" and {"weight", "bias"} <= {tensor.role for tensor in layer.tensors}
