"""Does an inserted block or layer return its input once it is set to? Asked of the network itself, on random input.

Shapes cannot tell a residual block from a plain stack of layers, nor an activation that can be applied twice (ReLU)
from one that cannot (GELU). So where the target is a module, a copy of the part in question is filled with random
values, set as planned, and run.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import nn

__all__ = ["find_exits", "is_identity_without", "norm_epsilon", "passes_through"]

P = ParamSpec("P")
R = TypeVar("R")

_MOST_ELEMENTS = 100_000_000
"""A larger block is not copied."""

_MOST_PRODUCTS = 10_000_000_000
"""An example that would take more multiplications is not tried: a second of one core or two."""

_LARGEST_EXAMPLE = 5_000_000
"""Elements."""

_MOST_TOKENS = 250_000
"""Elements of a sequence; a block made for images may broadcast one to many times its size."""

_MOST_WITH_POOLING = 10 * _MOST_PRODUCTS
"""The same for a stack of layers, most of which see a smaller image."""

_SIDES = (8, 7, 14, 64)
"""Heights and widths to try: windowed attention wants multiples of its window, much pooling a large image."""


def _careful(default: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Answer `default` whatever a stranger's module does, and leave the caller's random numbers alone."""

    def wrapped(ask: Callable[P, R]) -> Callable[P, R]:
        @wraps(ask)
        def answer(*args: P.args, **kwargs: P.kwargs) -> R:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                try:
                    return ask(*args, **kwargs)
                except Exception:  # its own way to copy, to list or to name its parts
                    result: R = default
                    return result

        return answer

    return wrapped


@_careful(None)
def is_identity_without(target: nn.Module, names: Collection[str], exits: Collection[str]) -> bool | None:
    """Whether the block that owns some tensors returns its input once its exits are zero.

    Parameters
    ----------
    target : nn.Module
        Not changed; may be on the meta device.
    names : collection of str
        All tensors of the block, by their names in the target.
    exits : collection of str
        Those to zero.

    Returns
    -------
    bool or None
        None if neither the block nor what it is a part of could be called on any of the usual inputs.
    """
    verdict = None
    for path in _owners(target, names):
        block = _random_copy(target.get_submodule(path))
        if block is None:
            continue
        for name in exits:
            block.state_dict(keep_vars=True)[name[len(path) + 1 :]].data.zero_()
        for example in _examples(block):
            result = _called(block, example)
            if result is None or result.shape != example.shape:
                continue
            if _is_close(result, example):
                return True
            verdict = False
    return _inside_network(target, names, exits) if verdict is None else verdict


def _inside_network(target: nn.Module, names: Collection[str], exits: Collection[str]) -> bool | None:
    """Ask a block that wants more than one input while what it is a part of runs."""
    path = next(_owners(target, names), "")
    owner = path
    while owner:
        owner = owner.rpartition(".")[0]
        model = _random_copy(target.get_submodule(owner))
        if model is None:
            return None
        start = len(owner) + 1 if owner else 0
        for name in exits:
            model.state_dict(keep_vars=True)[name[start:]].data.zero_()
        seen: list[tuple[Any, Any]] = []
        block = model.get_submodule(path[start:])
        block.register_forward_hook(lambda _module, args, output, seen=seen: seen.append((args, output)))
        for example in _examples(model):
            _called(model, example)
            for args, output in seen:
                if args and isinstance(args[0], torch.Tensor) and isinstance(output, torch.Tensor):
                    return args[0].shape == output.shape and _is_close(output, args[0])
    return None


@_careful([])
def find_exits(target: nn.Module, layers: Sequence[Sequence[str]]) -> list[str]:
    """Find tensors whose zeroing makes a block return its input, where shapes did not tell which.

    All are zero at first; then layer by layer they get values back, as long as the block stays identity. What is
    left are the last layers of the branches, whatever they are.

    Parameters
    ----------
    target : nn.Module
        Not changed; may be on the meta device.
    layers : sequence of sequence of str
        Tensors of the block by layer, by their names in the target.

    Returns
    -------
    list of str
        Empty if the block is not residual, or could not be called on any of the usual inputs.
    """
    for path in _owners(target, [name for names in layers for name in names]):
        block = _random_copy(target.get_submodule(path))
        if block is None:
            continue
        state = block.state_dict(keep_vars=True)
        inner = [[name[len(path) + 1 :] for name in names if not name.endswith(_STATISTICS)] for names in layers]
        values = {name: state[name].detach().clone() for names in inner for name in names}
        for name in values:
            state[name].data.zero_()
        example = next((x for x in _examples(block) if _returns(block, x)), None)
        if example is None:
            continue
        exits = []
        for names in inner:
            for name in names:
                state[name].data.copy_(values[name])
            if not _returns(block, example):
                exits += names
                for name in names:
                    state[name].data.zero_()
        return [f"{path}.{name}" for name in exits]
    return []


_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def _returns(block: nn.Module, example: torch.Tensor) -> bool:
    result = _called(block, example)
    return result is not None and result.shape == example.shape and _is_close(result, example)


@_careful(False)
def passes_through(target: nn.Module, before: str, inserted: Sequence[str], after: str) -> bool:
    """Whether layers set to identity change nothing between the layer before them and the layer after.

    With the inserted layers set to identity, what lies on both sides of them (an activation) is applied twice. That
    does no harm if the layer after reads what the inserted ones read, or if it reads the same when what the layer
    before gives, not yet activated, goes on behind the inserted ones.

    Parameters
    ----------
    target : nn.Module
        Not changed; may be on the meta device.
    before, after : str
        Paths of the neighbouring layers.
    inserted : sequence of str
        Paths of the inserted convolutions, linear layers and batch norms.

    Returns
    -------
    bool
        False also where the network could not be called on any of the usual inputs.
    """
    owner = ".".join(_common([before, *inserted]))
    while True:
        model = _random_copy(target.get_submodule(owner))
        if model is None:
            return False
        start = len(owner) + 1 if owner else 0
        bridge = [model.get_submodule(path[start:]) for path in (before, *inserted)]
        # what the layer after reads, or where that lies elsewhere, what this part of the network gives to it
        reader = model.get_submodule(after[start:]) if not owner or after.startswith(f"{owner}.") else None
        for module in bridge[1:]:
            _set_to_identity(module)
        for example in _examples(model, _MOST_WITH_POOLING):
            found = _read_by(reader, model, example)
            given = _read_by(bridge[1], model, example), _read_by(reader, model, example, bridge=bridge)
            if found is not None:
                return any(x is not None and x.shape == found.shape and _is_close(found, x) for x in given)
        if not owner:
            return False
        owner = owner.rpartition(".")[0]


def norm_epsilon(module: nn.Module) -> float:
    """Return what a norm adds to the variance."""
    return float(getattr(module, "eps", 0.0))


def _set_to_identity(module: nn.Module) -> None:
    """Let a square layer, or a batch norm in evaluation, return its input."""
    state = module.state_dict(keep_vars=True)
    weight = state.get("weight")
    for name, tensor in state.items():
        tensor.data.fill_(1 if name == "running_var" else 0)
    if weight is None:
        return
    if weight.dim() == 1:
        weight.data.fill_((1 + norm_epsilon(module)) ** 0.5)
        return
    middle = weight.data
    for n in reversed(weight.shape[2:]):
        middle = middle[..., n // 2]
    middle.fill_diagonal_(1)


def _read_by(
    reader: nn.Module | None, model: nn.Module, example: torch.Tensor, bridge: Sequence[nn.Module] = ()
) -> torch.Tensor | None:
    """Return what a layer reads while the network runs, or what that returns.

    What ``bridge[0]`` gives skips all up to ``bridge[-1]``.
    """
    seen: dict[str, torch.Tensor] = {}
    handles = []
    if reader is not None:
        handles.append(reader.register_forward_pre_hook(lambda _m, args: seen.__setitem__("read", args[0].clone())))
    if bridge:

        def keep(_module: nn.Module, _args: Any, output: torch.Tensor) -> None:
            seen["given"] = output.clone()

        handles.append(bridge[0].register_forward_hook(keep))
        handles += [module.register_forward_hook(lambda *_: seen["given"].clone()) for module in bridge[1:]]
    try:
        result = _called(model, example)
    finally:
        for handle in handles:
            handle.remove()
    return seen.get("read") if reader is not None else result


def _called(module: nn.Module, example: torch.Tensor) -> torch.Tensor | None:
    try:
        with torch.no_grad():
            result = module(example)
    except (Exception, SystemExit):  # a block that wants other input, or more of it
        return None
    return result if isinstance(result, torch.Tensor) else None


def _is_close(a: torch.Tensor, b: torch.Tensor) -> bool:
    size = float(b.abs().max())
    return size > 0 and torch.allclose(a, b, rtol=1e-4, atol=1e-4 * size)


def _owners(target: nn.Module, names: Collection[str]) -> Iterator[str]:
    """Paths of the modules that own these tensors and no others, the innermost first."""
    common = _common(list(names))
    owned = set(names)
    while common:
        path = ".".join(common)
        below = {f"{path}.{name}" for name in target.get_submodule(path).state_dict(keep_vars=True)}
        if not below <= owned:
            return
        yield path
        common.pop()


def _common(names: Sequence[str]) -> list[str]:
    """Leading components that all names share, their last one left out."""
    common = []
    for level in zip(*(name.split(".")[:-1] for name in names), strict=False):
        if len(set(level)) > 1:
            break
        common.append(level[0])
    return common


def _random_copy(module: nn.Module) -> nn.Module | None:
    """Copy a module to the CPU with random values of its own; None if it is too large or cannot be copied."""
    if sum(tensor.numel() for tensor in module.parameters()) > _MOST_ELEMENTS:
        return None
    try:
        block = copy.deepcopy(module)
    except Exception:  # it holds a lock, a file, a tensor of a graph
        return None
    for part in block.modules():  # the user's hooks are none of our business
        part._forward_hooks.clear()
        part._forward_pre_hooks.clear()
    block.to_empty(device="cpu")
    block.float()
    block.eval()
    generator = torch.Generator().manual_seed(0)
    for name, tensor in [*block.named_parameters(), *block.named_buffers()]:
        if not tensor.is_floating_point():
            tensor.data.zero_()
        elif name.endswith("running_var"):
            tensor.data.fill_(1)
        else:
            tensor.data.copy_(torch.randn(tensor.shape, generator=generator) * 0.1)
    return block


def _examples(block: nn.Module, most: int = _MOST_PRODUCTS) -> Iterator[torch.Tensor]:
    """Positive inputs (an activation may follow the addition) in the layouts of images and of token sequences."""
    n_weights = sum(tensor.numel() for tensor in block.parameters())
    for width, example in _layouts(block):
        if n_weights * (example.numel() // width) <= most and example.numel() <= _LARGEST_EXAMPLE:
            yield example


def _layouts(block: nn.Module) -> Iterator[tuple[int, torch.Tensor]]:
    widths: list[int] = []
    for tensor in block.parameters():
        widths += [n for n in tensor.shape[:2] if n > 1]
    first = next((tensor.shape[1] for tensor in block.parameters() if tensor.dim() > 1), 1)
    generator = torch.Generator().manual_seed(1)
    for width in dict.fromkeys([*sorted(set(widths), key=lambda n: -widths.count(n))[:3], first]):
        for side in _SIDES:
            yield width, torch.rand(1, width, side, side, generator=generator) + 0.1
            yield width, torch.rand(1, side, side, width, generator=generator) + 0.1
        yield width, torch.rand(1, width, generator=generator) + 0.1
        for length in (16, *sorted(set(widths))[:3]):
            if length * width <= _MOST_TOKENS:
                yield width, torch.rand(1, length, width, generator=generator) + 0.1
