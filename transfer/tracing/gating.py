"""Do channels that a gate multiplies go where they seem to go? Asked of the network, run without values.

A header tells the order in which layers were registered, not in which they are called: a shortcut may stand where
the reader of a gate would, and what a gate returns may be read twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from transfer.tracing.inputs import on_meta
from transfer.tracing.isolation import careful

__all__ = ["made_up_beside"]

Place = tuple[str, str, str]
"""Paths of a gate, of the layer that reads what it returns and of the batch norm before it; either may be empty."""


@careful({})
@torch.no_grad()
def made_up_beside(model: nn.Module, places: Sequence[Place]) -> dict[str, str]:
    """Find which layer beside each gate can make up for it: what multiplies its channels changes nothing else.

    Parameters
    ----------
    model : nn.Module
        Not changed; may be on the meta device.
    places : sequence of Place
        As they seem from a header.

    Returns
    -------
    dict of str to str
        By path of the gate that of its reader, if that is the only one to read what the gate returns; or of the
        norm, if the gate is the only one to read what that returns. Empty where the network could not be run:
        on what was given for it, or any of the usual inputs.
    """
    found = on_meta(model)
    if found is None:
        return {}
    network, example = found
    watch = _Watch()
    for gate, reader, norm in places:
        if norm and _is_plain_norm(network.get_submodule(norm)):
            watch.expect((gate, norm), network.get_submodule(norm), network.get_submodule(gate))
        if reader:
            watch.expect((gate, reader), network.get_submodule(gate), network.get_submodule(reader), once=True)
    with watch:
        example(network)
    return dict(watch.confirmed())


def _is_plain_norm(module: nn.Module) -> bool:
    """Whether what a batch norm returns is not activated by itself."""
    return isinstance(module, _BatchNorm) and isinstance(getattr(module, "act", nn.Identity()), nn.Identity)


@dataclass
class _Use:
    """What is seen of what one module returns: how often another uses it, and how often anything else."""

    once: bool
    tensors: list[torch.Tensor] = field(default_factory=list)
    inside: bool = False
    n_right: int = 0
    n_wrong: int = 0


class _Watch(TorchFunctionMode):
    """Counts the operations on what gates return, or on what the norms before them do."""

    def __init__(self) -> None:
        super().__init__()
        self._uses: dict[tuple[str, str], _Use] = {}

    def expect(self, pair: tuple[str, str], giver: nn.Module, user: nn.Module, *, once: bool = False) -> None:
        """Watch what one module returns, to be used in another only, and there `once`."""
        use = self._uses[pair] = _Use(once)

        def enter(*_: Any) -> None:
            use.inside = True

        def leave(*_: Any) -> None:
            use.inside = False

        def keep(_module: nn.Module, _args: Any, output: Any) -> None:
            use.tensors.append(output)  # kept, so that no other tensor takes its place

        giver.register_forward_hook(keep)
        user.register_forward_pre_hook(enter)
        user.register_forward_hook(leave)

    def confirmed(self) -> Iterable[tuple[str, str]]:
        """Yield the pairs of which nothing unexpected was seen."""
        for pair, use in self._uses.items():
            is_single = len(use.tensors) == 1 and (use.n_right == 1 or not use.once)
            if is_single and use.n_right > 0 and use.n_wrong == 0:
                yield pair

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Look at what an operation is given."""
        if getattr(func, "__name__", "") not in ("__get__", "size", "dim"):
            given = {id(value) for value in _flat((*args, *(kwargs or {}).values()))}
            for use in self._uses.values():
                if any(id(tensor) in given for tensor in use.tensors):
                    use.n_right += use.inside
                    use.n_wrong += not use.inside
        return func(*args, **(kwargs or {}))


def _flat(values: Iterable[Any]) -> Iterable[Any]:
    for value in values:
        if isinstance(value, list | tuple):
            yield from value
        else:
            yield value
