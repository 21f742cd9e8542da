"""Build networks without their weights, but with all else that their code computes: tables of positions, masks."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

__all__ = ["Uninitialised", "drop_parameters", "holds_all_buffers"]

_WRITES = {
    *("normal_", "uniform_", "zero_", "fill_", "copy_", "clamp_", "erfinv_", "mul_", "add_", "sub_", "div_"),
    *("trunc_normal_", "kaiming_uniform_", "kaiming_normal_", "xavier_uniform_", "xavier_normal_", "orthogonal_"),
    *("constant_", "ones_", "zeros_"),
}


class Uninitialised(TorchFunctionMode):
    """Leaves parameters as they are allocated, without random values; buffers get their values.

    What nothing writes to takes no memory. Code that computes with its parameters, or draws numbers after them,
    gets other ones: this is for networks that are known not to.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Pass over what would write into a parameter."""
        first = args[0] if args else (kwargs or {}).get("tensor")
        if isinstance(first, nn.Parameter) and getattr(func, "__name__", "") in _WRITES:
            return first
        return func(*args, **(kwargs or {}))


def holds_all_buffers(network: nn.Module) -> bool:
    """Whether the weights of a network hold all that it keeps."""
    saved = network.state_dict(keep_vars=True)
    return all(key in saved for key, _ in network.named_buffers())


def drop_parameters(network: nn.Module) -> nn.Module:
    """Move the parameters of a network, and nothing else, to the meta device; return it."""
    made: dict[int, tuple[nn.Parameter, nn.Parameter]] = {}  # what is registered twice stays one
    for part in network.modules():
        for key, parameter in part._parameters.items():
            if parameter is not None:
                empty = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
                part._parameters[key] = made.setdefault(id(parameter), (parameter, empty))[1]
    return network
