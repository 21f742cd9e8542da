"""Names, shapes and dtypes of the tensors of a network, whatever it comes as: its header."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias

from transfer.errors import InputError
from transfer.structure.records import Architecture, Signature

if TYPE_CHECKING:
    from torch import nn

    from transfer.weights.checkpoint import Checkpoint

    NetworkLike: TypeAlias = nn.Module | Architecture | Checkpoint | Mapping[str, Any] | str | os.PathLike[str]

__all__ = ["as_module", "header_of", "is_lazy"]


def header_of(network: NetworkLike) -> dict[str, Signature]:
    """Tensor names and signatures of a module, a state dict or a checkpoint, in their order.

    Parameters
    ----------
    network : nn.Module, state dict, Checkpoint or path
        The values of a state dict may be tensors or shapes.

    Returns
    -------
    dict of str to Signature

    Raises
    ------
    InputError
        If `network` is none of these, or holds no tensor.
    """
    module = as_module(network)
    if module is not None:
        state = module.state_dict(keep_vars=True)
        header = {name: _signature(t) for name, t in _tensors(state)}
    elif isinstance(network, Mapping):
        odd = next((key for key in network if not isinstance(key, str)), None)
        if odd is not None:
            raise InputError(f"expected names of tensors in a state dict, got {odd!r}; it is part of one, perhaps")
        header = {name: _signature(value) for name, value in network.items()}
    elif isinstance(network, Architecture):
        header = {t.name: Signature(t.shape, t.dtype) for t in network.tensors()}
    else:
        from transfer.weights.checkpoint import Checkpoint, open_checkpoint

        if not isinstance(network, Checkpoint | str | os.PathLike):
            raise InputError(
                f"expected a module, a state dict, an architecture or a checkpoint, got {type(network).__name__}"
            )
        checkpoint = network if isinstance(network, Checkpoint) else open_checkpoint(network)
        header = dict(checkpoint.header)
    if not header:
        raise InputError("expected a network with parameters, got one without any tensor")
    return header


def _tensors(state: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Tensors of a module's state dict; extra state of other types is passed over."""
    from torch import Tensor

    for name, value in state.items():
        if is_lazy(value):
            raise InputError(
                f"expected a network whose shapes are known, {name!r} is lazy; run it once on an example input"
            )
        if isinstance(value, Tensor):
            yield name, value


def _signature(value: Any) -> Signature:
    if not hasattr(value, "shape") and not isinstance(value, tuple | list):
        raise InputError(f"expected tensors or shapes in a state dict, got {type(value).__name__}; leave it out")
    return Signature(tuple(getattr(value, "shape", value)), _dtype_name(getattr(value, "dtype", "")))


@lru_cache(maxsize=256)
def _dtype_name(dtype: object) -> str:
    return str(dtype).removeprefix("torch.")


def is_lazy(value: Any) -> bool:
    """Whether a parameter has no shape before the network has been run once."""
    from torch.nn import parameter

    return bool(parameter.is_lazy(value))


def as_module(network: object) -> nn.Module | None:
    """Return `network` if it is a torch module, without importing torch to find out that it is not."""
    import sys

    if "torch" not in sys.modules:
        return None
    from torch import nn

    return network if isinstance(network, nn.Module) else None
