"""The `paper` form: the published standardization of a module tree (arXiv 2212.13970).

The tree is folded from the leaves up. Convolution, linear and batch-norm modules are layers; any other
childless module stays as a placeholder, which scores 0 but counts when a list is weighed. A list with more
single layers than blocks becomes a block itself; shallow or nearly weightless lists are spliced into their
parent. The result is a list of layers and of blocks of layers.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import nn

from transfer.structure.records import PLACEHOLDER, Architecture, Block, Item, Layer, Tensor

__all__ = ["from_module"]

_WEIGHTED = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
_LEAVES = _WEIGHTED + _NORMS

_Result = Layer | list["Layer | list[Layer]"]


class _Folded(NamedTuple):
    """A folded subtree: its depth in lists, its number of weighted layers, its layer or list."""

    depth: int
    n_weighted: int
    result: _Result


def from_module(module: nn.Module) -> Architecture:
    """Standardize a module as published.

    Parameters
    ----------
    module : nn.Module
        On any device; weights are not looked at.

    Returns
    -------
    Architecture
        In ``paper`` form.
    """
    result = _fold(module, "", level=0).result
    assert isinstance(result, list)
    items: list[Item] = [Block(tuple(item)) if isinstance(item, list) else item for item in result]
    return Architecture("paper", tuple(items))


def _fold(module: nn.Module, path: str, level: int) -> _Folded:
    folded = _fold_any(module, path, level)
    if level == 0 and not isinstance(folded.result, list):
        return folded._replace(result=[folded.result])
    return folded


def _fold_any(module: nn.Module, path: str, level: int) -> _Folded:
    if isinstance(module, _LEAVES):
        return _Folded(0, int(isinstance(module, _WEIGHTED)), _leaf(module, path))
    children = list(module.named_children())
    if not children:
        return _Folded(0, 0, Layer(PLACEHOLDER, path=path))
    child_level = level if len(children) == 1 else level + 1
    prefix = f"{path}." if path else ""
    items: list[Layer | list[Layer]] = []
    n_weighted = 0
    for name, child in children:
        folded = _fold(child, prefix + name, child_level)
        n_weighted += folded.n_weighted
        if not isinstance(folded.result, list):
            items.append(folded.result)
        elif folded.depth == 2 or folded.n_weighted < 2:
            items.extend(folded.result)
        else:
            items.append(_flatten(folded.result))
    n_blocks = sum(isinstance(item, list) for item in items)
    depth = 2
    if level > 0 and len(items) - n_blocks > n_blocks:
        items, depth = [*_flatten(items)], 1
    if len(items) == 1:
        return _Folded(1, n_weighted, items[0] if isinstance(items[0], Layer) else [*items[0]])
    return _Folded(depth, n_weighted, items)


def _flatten(items: list[Layer | list[Layer]]) -> list[Layer]:
    flat: list[Layer] = []
    for item in items:
        if isinstance(item, list):
            flat.extend(item)
        else:
            flat.append(item)
    return flat


def _leaf(module: nn.Module, path: str) -> Layer:
    """Layer of a leaf class; the class that counts is torch's, not a subclass of it.

    A weight that is computed (weight norm and other parametrizations) is no tensor that could be copied, and
    asking for it may change the module.
    """
    kind = next(leaf for leaf in _LEAVES if isinstance(module, leaf)).__name__
    prefix = f"{path}." if path else ""
    tensors = tuple(
        Tensor(role, tuple(value.shape), prefix + role, str(value.dtype).removeprefix("torch."))
        for role in ("weight", "bias")
        if (value := module._parameters.get(role)) is not None
    )
    if not tensors or tensors[0].role != "weight":
        return Layer(PLACEHOLDER, path=path)  # nothing to compare by, e.g. batch norm without affine
    return Layer(kind, tensors, path)
