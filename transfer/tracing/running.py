"""Runs the networks of a caller themselves, with their values, and leaves them as they were.

They are not copied: that would take their memory once more. What a run may write to is kept and put back (modes,
buffers, attributes, hooks); a run that writes into parameters is stopped before it does.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from transfer.tracing.given import Example
from transfer.tracing.isolation import isolated

__all__ = ["CostError", "Guard", "Ran", "bare", "run"]

_COUNTS: dict[Any, Any] = {
    **flop_registry,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: flop_registry[
        torch.ops.aten._scaled_dot_product_flash_attention
    ],
}
"""How to count the operations of what takes many."""


class CostError(RuntimeError):
    """A run takes more operations than it may."""


class Ran:
    """What a network returned, and what the last of its layers with weights read.

    Attributes
    ----------
    result : object
    last : nn.Module or None
        The last layer that ran.
    read : Tensor or None
        What it was given.
    """

    def __init__(self, result: Any, last: nn.Module | None, read: torch.Tensor | None) -> None:
        self.result, self.last, self.read = result, last, read


def bare(module: nn.Module) -> nn.Module:
    """Return the network that others are wrapped around: compiled, or spread over devices."""
    while True:
        inner = getattr(module, "_orig_mod", None)
        if inner is None and isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = module.module
        if not isinstance(inner, nn.Module):
            return module
        module = inner


def run(module: nn.Module, example: Example, most: float = math.inf) -> Ran:
    """Run a network in evaluation mode, without gradients, hooks and randomness.

    Parameters
    ----------
    module : nn.Module
        Unchanged afterwards.
    example : Example
        With values, where the network lives.
    most : float
        Operations, two for each multiplication, after which it is given up.

    Raises
    ------
    CostError
        If it takes more.
    Exception
        Of any kind, also in the place of SystemExit: whatever the network raises.
    """
    module = bare(module)
    devices = sorted({x.device.index or 0 for x in module.parameters() if x.device.type == "cuda"})
    last: list[Any] = [None, None]

    def keep(layer: nn.Module, args: tuple[Any, ...], _output: Any) -> None:
        if args and isinstance(args[0], torch.Tensor):
            last[:] = layer, args[0]

    with ExitStack() as stack:
        stack.enter_context(isolated(module))
        stack.enter_context(torch.random.fork_rng(devices=devices))
        stack.enter_context(torch.autocast("cuda", enabled=False))
        stack.enter_context(torch.backends.cudnn.flags(allow_tf32=False))
        torch.set_float32_matmul_precision("highest")  # put back with the other settings
        torch.manual_seed(0)
        stack.enter_context(torch.no_grad())
        stack.enter_context(_parameters_of(module))
        stack.enter_context(_without_hooks(module))
        for part in module.modules():
            part.training = False  # `eval` may be a method of the user's that merges weights
            if _has_weights(part):
                stack.callback(part.register_forward_hook(keep).remove)
        stack.enter_context(Guard([*module.parameters()], most))
        try:
            return Ran(example(module), *last)
        except SystemExit as error:
            raise RuntimeError(f"called exit({error.code!r})") from error


def _has_weights(part: nn.Module) -> bool:
    """Whether a layer mixes channels."""
    weight = dict(part.named_parameters(recurse=False)).get("weight")
    return weight is not None and weight.dim() > 1 and not isinstance(part, nn.Embedding)


@contextmanager
def _without_hooks(module: nn.Module) -> Iterator[None]:
    """Take the hooks of users away; those of torch prepare weights."""
    kept = []
    for part in module.modules():
        for hooks in (part._forward_hooks, part._forward_pre_hooks):
            if hooks:
                kept.append((hooks, dict(hooks)))
                for key, hook in list(hooks.items()):
                    if not type(hook).__module__.startswith("torch.nn.utils."):
                        del hooks[key]
    try:
        yield
    finally:
        for hooks, before in kept:
            hooks.clear()
            hooks.update(before)


@contextmanager
def _parameters_of(module: nn.Module) -> Iterator[None]:
    """Put back parameters, and where their values lie, if a run exchanges them."""
    kept = [(part, owned, dict(owned)) for part in module.modules() for owned in (part._parameters, part._buffers)]
    values = [(parameter, parameter.data) for parameter in module.parameters()]
    try:
        yield
    finally:
        for _, owned, before in kept:
            if any(owned.get(name) is not tensor for name, tensor in before.items()) or len(owned) != len(before):
                owned.clear()
                owned.update(before)  # type: ignore[arg-type]  # what it held
        for parameter, value in values:
            if parameter.data_ptr() != value.data_ptr() or parameter.shape != value.shape:
                parameter.data = value


class Guard(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own class has no annotations
    """Stops what would write into parameters, and what takes too many operations."""

    def __init__(self, parameters: Sequence[torch.Tensor], most: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._held = {_place(parameter) for parameter in parameters}
        self._left = most

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Look at what an operation writes to and, by the sizes of its result, at what it takes."""
        kwargs = kwargs or {}
        if func._schema.is_mutable:
            for i, argument in enumerate(func._schema.arguments):
                if argument.alias_info is not None and argument.alias_info.is_write:
                    value = args[i] if i < len(args) else kwargs.get(argument.name)
                    if any(_place(x) in self._held for x in tree_leaves(value) if isinstance(x, torch.Tensor)):
                        raise RuntimeError("it writes into its parameters when it runs")
        result = func(*args, **kwargs)
        count = _COUNTS.get(func.overloadpacket)
        if count is not None:
            self._left -= count(*args, **kwargs, out_val=result)
            if self._left < 0:
                raise CostError("it takes too many operations")
        return result


def _place(tensor: torch.Tensor) -> tuple[torch.device, int]:
    return tensor.device, tensor.untyped_storage().data_ptr()
