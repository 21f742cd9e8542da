"""Build networks without drawing their random values: what nothing writes to takes no memory."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.overrides import TorchFunctionMode

__all__ = ["Uninitialised"]

_WRITES = {
    *("normal_", "uniform_", "zero_", "fill_", "copy_", "clamp_", "erfinv_", "mul_", "add_", "sub_", "div_"),
    *("trunc_normal_", "kaiming_uniform_", "kaiming_normal_", "xavier_uniform_", "xavier_normal_", "orthogonal_"),
    *("constant_", "ones_", "zeros_"),
}


class Uninitialised(TorchFunctionMode):
    """Leaves parameters as they are allocated; buffers get their values."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Pass over what would write into a parameter."""
        first = args[0] if args else (kwargs or {}).get("tensor")
        if isinstance(first, nn.Parameter) and getattr(func, "__name__", "") in _WRITES:
            return first
        return func(*args, **(kwargs or {}))
