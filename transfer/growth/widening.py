"""Transformers that grow in width: layer norm has to see the same mean and variance as before.

Layer norm divides by the spread of all channels, so channels added with any value of their own change the old ones.
Added with the mean of the old ones they leave the mean alone and shrink the variance by the known factor d / D,
which the norm's weight makes up for (LEMON, arXiv 2310.07999). So what is added to everything that writes into the
residual stream is the mean of its outputs; what reads the stream finds zeros there, after the norm. Only the norm's
epsilon keeps this from being exact. Norms that divide by the root of the mean square (RMS) know of no mean: what is
added is zero, and shrinks the mean square by the same factor.

That works where nothing but norms and additions touches the stream: not with layer scales, convolutions between
(ConvNeXt), norms before the blocks, or mixing along the tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from transfer.alignment.matching import Alignment, LayerPair
from transfer.structure.layers import in_width, is_lookup, is_weighted, out_width
from transfer.structure.meaning import residual_exits
from transfer.structure.records import Block, Layer

if TYPE_CHECKING:
    import torch

__all__ = ["Append", "Widening", "stream_widenings"]


@dataclass(frozen=True, slots=True)
class Append:
    """Transform that appends the mean along an axis, or zeros, as often as need be.

    Parameters
    ----------
    axis : int
    n_new : int
    is_mean : bool
    """

    axis: int
    n_new: int
    is_mean: bool = True

    def __call__(self, value: torch.Tensor) -> torch.Tensor:
        """Return a tensor with `n_new` more places along the axis."""
        import torch

        mean = value.double().mean(self.axis, keepdim=True).to(value.dtype)
        added = mean if self.is_mean else torch.zeros_like(mean)
        size = [-1] * value.dim()
        size[self.axis] = self.n_new
        return torch.cat([value, added.expand(size)], self.axis)

    def turned(self) -> Append:
        """Return the same for a matrix that is stored the other way round."""
        return replace(self, axis=1 - self.axis)


@dataclass(frozen=True, slots=True)
class Widening:
    """What is done to a source tensor that writes into the residual stream, or normalises it.

    Parameters
    ----------
    axis : int
        Of the stream's channels, where the mean is appended; -1 for a norm, where nothing is.
    scale : float
        Factor on what is copied.
    is_mean : bool
        Whether the mean is appended; zeros where norms know of no mean.
    """

    axis: int = -1
    scale: float = 1.0
    is_mean: bool = True


def stream_widenings(alignment: Alignment) -> dict[str, Widening]:
    """Find the tensors of a wider transformer that touch its residual stream.

    Parameters
    ----------
    alignment : Alignment

    Returns
    -------
    dict of str to Widening
        By the name of the target tensor; empty where the stream does not grow or the idea does not apply.
    """
    width = _widths(alignment)
    if width is None:
        return {}
    old, new = width
    is_mean = not _are_rms(alignment, new)
    found: dict[str, Widening] = {}
    exits = {
        tensor.name for item in alignment.target.items if isinstance(item, Block) for tensor in residual_exits(item)
    }
    for pair in alignment.pairs:
        layer = pair.target
        if layer.kind == "norm" and (layer.dims, pair.source.dims) == ((new,), (old,)):
            found[layer.tensors[0].name] = Widening(scale=(old / new) ** 0.5)
        is_inside = isinstance(alignment.target.items[pair.target_item], Block)
        for tensor in layer.tensors:
            if tensor.name in exits if is_inside else _writes(pair, old, new):
                is_table = layer.kind.startswith("parameter") or is_lookup(layer)
                axis = len(tensor.shape) - 1 if is_table else 0
                found[tensor.name] = Widening(axis=axis, is_mean=is_mean)
    return found


def _are_rms(alignment: Alignment, width: int) -> bool:
    """Whether norms divide by the root of the mean square: they have no bias, and no layer norm was seen."""
    norms = [layer for layer in alignment.target.layers() if (layer.kind, layer.dims) == ("norm", (width,))]
    return all(len(norm.tensors) == 1 and not norm.facts.startswith("layer_norm") for norm in norms)


def _widths(alignment: Alignment) -> tuple[int, int] | None:
    """Width of the stream in source and target, if every block is a pre-norm residual one and it grows."""
    widths = set()
    before = True
    for s, t in dict.fromkeys((pair.source_item, pair.target_item) for pair in alignment.pairs):
        source, target = alignment.source.items[s], alignment.target.items[t]
        if isinstance(source, Block) and isinstance(target, Block):
            before = False
            if out_width(source.layers[0]) >= out_width(target.layers[0]):
                return None
            for block in (source, target):
                if not _is_pre_norm(block):
                    return None
            widths.add((out_width(source.layers[0]), out_width(target.layers[0])))
        elif before and isinstance(target, Layer) and target.kind in ("norm", "batchnorm"):
            return None
    if len(widths) != 1:
        return None
    return widths.pop()


def _is_pre_norm(block: Block) -> bool:
    """Whether a block is norm, attention, norm, MLP on one stream, without layer scales or convolutions."""
    first = block.layers[0]
    if first.kind != "norm" or not residual_exits(block):
        return False
    width = out_width(first)
    if any(layer.kind not in ("norm", "linear") for layer in block.layers):
        return False
    norms = [i for i, layer in enumerate(block.layers) if layer.dims == (width,) and layer.kind == "norm"]
    readers = [next(_weighted(block.layers[i:]), None) for i in norms]
    return all(reader is not None and in_width(reader) == width for reader in readers)


def _weighted(layers: tuple[Layer, ...]) -> Iterator[Layer]:
    return (layer for layer in layers if is_weighted(layer))


def _writes(pair: LayerPair, old: int, new: int) -> bool:
    """Whether a layer outside the blocks writes into the stream: the patch embedding, tokens, positions."""
    if pair.source.dims is None or pair.target.dims is None:
        return False
    if pair.target.kind.startswith("parameter"):
        return (pair.source.dims[-1], pair.target.dims[-1]) == (old, new)
    if is_lookup(pair.target):
        return (pair.source.dims[1], pair.target.dims[1]) == (old, new)
    return is_weighted(pair.target) and (out_width(pair.source), out_width(pair.target)) == (old, new)
