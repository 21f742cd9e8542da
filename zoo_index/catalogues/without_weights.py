"""Build networks without their weights, but with all else that their code computes: tables of positions, masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

__all__ = ["Uninitialised", "built_without_weights"]

_WRITES = {
    *("normal_", "uniform_", "zero_", "fill_", "copy_", "clamp_", "erfinv_", "mul_", "add_", "sub_", "div_"),
    *("trunc_normal_", "kaiming_uniform_", "kaiming_normal_", "xavier_uniform_", "xavier_normal_", "orthogonal_"),
    *("constant_", "ones_", "zeros_"),
}


class Uninitialised(TorchFunctionMode):
    """Leaves parameters as they are allocated, without random values; buffers get their values.

    What nothing writes to takes no memory.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Pass over what would write into a parameter."""
        first = args[0] if args else (kwargs or {}).get("tensor")
        if isinstance(first, nn.Parameter) and getattr(func, "__name__", "") in _WRITES:
            return first
        return func(*args, **(kwargs or {}))


def built_without_weights(build: Callable[[str], nn.Module]) -> nn.Module:
    """Build a network on the meta device, but for buffers with values if its weights lack some of them.

    Parameters
    ----------
    build : callable
        Builds it on the device of that name, each time the same.
    """
    network = build("meta")
    saved = network.state_dict(keep_vars=True)
    if all(key in saved for key, _ in network.named_buffers()):
        return network
    with Uninitialised():
        real = build("cpu")
    memo: dict[int, tuple[nn.Parameter, nn.Parameter]] = {}  # what is registered twice stays one
    for part in real.modules():
        for key, parameter in part._parameters.items():
            if parameter is not None:
                made = nn.Parameter(parameter.detach().to("meta"), parameter.requires_grad)
                part._parameters[key] = memo.setdefault(id(parameter), (parameter, made))[1]
    return real
