"""Does a norm read what the layer before it gives, and nothing else? Asked of the network, run without values.

Two layers may follow each other where something is added, concatenated or activated between them: a convolution
that ends a residual branch and the norm that starts the next one. Only what the norm alone reads, as it was given,
can be put into the layer, or taken out of the norm.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from transfer.tracing.inputs import on_meta
from transfer.tracing.isolation import careful

__all__ = ["followed"]

_QUESTIONS = ("__get__", "size", "dim", "numel", "is_floating_point", "is_contiguous", "stride")
"""What may be asked of a tensor without using its values."""

_MOVES = (
    *("flatten", "unflatten", "reshape", "reshape_as", "view", "view_as", "transpose", "permute", "contiguous"),
    *("squeeze", "unsqueeze", "dropout", "dropout1d", "dropout2d", "dropout3d", "to", "float", "clone"),
)
"""What gives the same values, in evaluation."""


@careful(None)
@torch.no_grad()
def followed(model: nn.Module, pairs: Collection[tuple[str, str]]) -> set[tuple[str, str]] | None:
    """Find the norms that read what the layer before them gives, and that alone do so.

    Parameters
    ----------
    model : nn.Module
        Not changed; may be on the meta device.
    pairs : collection of (str, str)
        Paths of a layer and of the norm that seems to follow it.

    Returns
    -------
    set of (str, str) or None
        None if the network could not be run on any of the usual inputs.
    """
    found = on_meta(model)
    if found is None:
        return None
    network, example = found
    watch = _Watch()
    for layer, norm in pairs:
        watch.expect((layer, norm), network.get_submodule(layer), network.get_submodule(norm))
    with watch:
        example(network)
    return set(watch.confirmed())


@dataclass
class _Given:
    """What a layer gave, in all the shapes that it was brought into, and who used it."""

    tensors: list[torch.Tensor] = field(default_factory=list)
    n_calls: int = 0
    is_inside: bool = False
    n_right: int = 0
    n_wrong: int = 0


class _Watch(TorchFunctionMode):
    """Counts the operations on what layers give: those inside of the norm, and all others."""

    def __init__(self) -> None:
        super().__init__()
        self._given: dict[tuple[str, str], _Given] = {}

    def expect(self, pair: tuple[str, str], layer: nn.Module, norm: nn.Module) -> None:
        """Watch what a layer gives."""
        given = self._given[pair] = _Given()

        def keep(_module: nn.Module, _args: Any, output: Any) -> None:
            given.n_calls += 1
            given.tensors.append(output)  # kept, so that no other tensor takes its place

        def enter(*_: Any) -> None:
            given.is_inside = True

        def leave(*_: Any) -> None:
            given.is_inside = False

        layer.register_forward_hook(keep)
        norm.register_forward_pre_hook(enter)
        norm.register_forward_hook(leave)

    def confirmed(self) -> Iterable[tuple[str, str]]:
        """Yield the pairs of which nothing unexpected was seen."""
        for pair, given in self._given.items():
            if given.n_calls == 1 and given.n_right == 1 and not given.n_wrong:
                yield pair

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Look at what an operation is given."""
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "")
        if name in _QUESTIONS:
            return result
        moved = args[0] if args and name in _MOVES and isinstance(result, torch.Tensor) else None
        used = {id(value) for value in _flat((*args, *(kwargs or {}).values()))}
        for given in self._given.values():
            if any(tensor is moved for tensor in given.tensors):
                given.tensors.append(result)
            elif moved is None and any(id(tensor) in used for tensor in given.tensors):
                given.n_right += given.is_inside
                given.n_wrong += not given.is_inside
        return result


def _flat(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        else:
            yield value
