"""Does an inserted block or layer return its input once it is set to? Asked of the network itself, on random input.

Shapes cannot tell a residual block from a plain stack of layers, nor an activation that can be applied twice (ReLU)
from one that cannot (GELU). So where the target is a module, a copy of the part in question is filled with random
values, set as planned, and run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import torch
from torch import nn

from transfer.tracing.copies import common_path, owners, random_copy
from transfer.tracing.examples import MOST_WITH_POOLING, call, examples, first_tensor, is_close
from transfer.tracing.given import Example, given_example
from transfer.tracing.inputs import network_examples
from transfer.tracing.isolation import careful

__all__ = ["find_exits", "is_identity_without", "passes_through"]


@careful(None)
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
    for path in owners(target, names):
        block = random_copy(target.get_submodule(path))
        if block is None:
            continue
        for name in exits:
            block.state_dict(keep_vars=True)[name[len(path) + 1 :]].data.zero_()
        for example in examples(block):
            result = call(block, example)
            if result is None or result.shape != example.shape:
                continue
            if is_close(result, example):
                return True
            verdict = False
    return _inside_network(target, names, exits) if verdict is None else verdict


def _inside_network(target: nn.Module, names: Collection[str], exits: Collection[str]) -> bool | None:
    """Ask a block that wants more than one input while what it is a part of runs."""
    for start, model, block, example in _contexts(target, names):
        for name in exits:
            model.state_dict(keep_vars=True)[name[start:]].data.zero_()
        return _returns_inside(model, block, example)
    return None


def _contexts(
    target: nn.Module, names: Collection[str]
) -> Iterator[tuple[int, nn.Module, nn.Module, torch.Tensor | Example]]:
    """Copy what a block is a part of, from the inside out, as far as it runs on some input.

    Yields
    ------
    int, nn.Module, nn.Module, Tensor or Example
        How much of a name lies above the copy, the copy, the block in it, and the input.
    """
    path = next(owners(target, names), "")
    owner = path
    while owner:
        owner = owner.rpartition(".")[0]
        model = random_copy(target.get_submodule(owner))
        if model is None:
            return
        start = len(owner) + 1 if owner else 0
        block = model.get_submodule(path[start:])
        tries: Iterator[torch.Tensor | Example] = examples(model) if owner else network_examples(target)
        example = next((x for x in tries if _seen(model, block, x) is not None), None)
        if example is not None:
            yield start, model, block, example


@careful({})
def find_exits(
    target: nn.Module, layers: Sequence[Sequence[str]], scales: Collection[str] = ()
) -> dict[str, float]:
    """Find what makes a block return its input, where shapes did not tell.

    All tensors are zero at first, scales zero or one; then layer by layer they get values back, as long as the
    block stays identity. What is left are the last layers of the branches, and scales of the path around them.

    Parameters
    ----------
    target : nn.Module
        Not changed; may be on the meta device.
    layers : sequence of sequence of str
        Tensors of the block by layer, by their names in the target.
    scales : collection of str
        Those of them that channels may be multiplied by, as they are.

    Returns
    -------
    dict of str to float
        What to set, by name; empty if the block is not residual, or could not be called on the usual inputs.
    """
    values: dict[str, torch.Tensor] = {}
    copied: nn.Module | None = None
    for start, model, is_identity in _questions(target, [name for names in layers for name in names]):
        state = model.state_dict(keep_vars=True)
        inner = [[name[start:] for name in names if not name.endswith(_STATISTICS)] for names in layers]
        inner = [[name for name in names if state[name].is_floating_point()] for names in inner]
        if model is not copied:  # a new copy, not yet touched
            copied, values = model, {name: state[name].detach().clone() for names in inner for name in names}
        own = {name[start:] for name in scales}
        for kept in (0.0, 1.0) if own else (0.0,):
            neutral = {name: kept if name in own else 0.0 for name in values}
            for name, value in neutral.items():
                state[name].data.fill_(value)
            if not is_identity():
                continue
            exits: dict[str, float] = {}
            for names in inner:
                for name in names:
                    state[name].data.copy_(values[name])
                if not is_identity():
                    for name in names:
                        state[name].data.fill_(neutral[name])
                        exits[name] = neutral[name]
            above = layers[0][0][:start]
            return {above + name: value for name, value in exits.items()}
    return {}


def _questions(target: nn.Module, names: Collection[str]) -> Iterator[tuple[int, nn.Module, Callable[[], bool]]]:
    """Ways to ask whether a block returns its input: called by itself, or while what it is a part of runs.

    Yields
    ------
    int, nn.Module, callable
        How much of a name lies above the copy, the copy, and the question.
    """
    for path in owners(target, names):
        block = random_copy(target.get_submodule(path))
        for example in examples(block) if block is not None else ():
            assert block is not None
            yield len(path) + 1, block, partial(_returns, block, example)
    for start, model, part, given in islice(_contexts(target, names), 1):
        yield start, model, partial(_returns_inside, model, part, given)


def _seen(
    model: nn.Module, block: nn.Module, example: torch.Tensor | Example
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """First input and output of a block while a network runs."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def look(_module: nn.Module, args: tuple[Any, ...], named: dict[str, Any], result: object) -> None:
        given, got = first_tensor((*args, *named.values())), first_tensor(result)
        if given is not None and got is not None:
            seen.append((given, got))

    handle = block.register_forward_hook(look, with_kwargs=True)
    call(model, example)
    handle.remove()
    return seen[0] if seen else None


def _returns_inside(model: nn.Module, block: nn.Module, example: torch.Tensor | Example) -> bool:
    seen = _seen(model, block, example)
    return seen is not None and seen[0].shape == seen[1].shape and is_close(seen[1], seen[0])


_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def _returns(block: nn.Module, example: torch.Tensor) -> bool:
    result = call(block, example)
    return result is not None and result.shape == example.shape and is_close(result, example)


@careful(False)
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
    owner = ".".join(common_path([before, *inserted]))
    while True:
        model = random_copy(target.get_submodule(owner))
        if model is None:
            return False
        start = len(owner) + 1 if owner else 0
        bridge = [model.get_submodule(path[start:]) for path in (before, *inserted)]
        # what the layer after reads, or where that lies elsewhere, what this part of the network gives to it
        reader = model.get_submodule(after[start:]) if not owner or after.startswith(f"{owner}.") else None
        for module in bridge[1:]:
            _set_to_identity(module)
        for example in _tries(model, None if owner else target):
            found = _read_by(reader, model, example)
            given = _read_by(bridge[1], model, example), _read_by(reader, model, example, bridge=bridge)
            if found is not None:
                return any(x is not None and x.shape == found.shape and is_close(found, x) for x in given)
        if not owner:
            return False
        owner = owner.rpartition(".")[0]


def _tries(model: nn.Module, network: nn.Module | None) -> Iterator[torch.Tensor | Example]:
    """Yield what to run a part on, or the whole network: what was given for it first."""
    if network is not None and given_example(network) is not None:
        yield from network_examples(network)
    yield from examples(model, MOST_WITH_POOLING)


def _set_to_identity(module: nn.Module) -> None:
    """Let a square layer, or a batch norm in evaluation, return its input."""
    state = module.state_dict(keep_vars=True)
    weight = state.get("weight")
    for name, tensor in state.items():
        tensor.data.fill_(1 if name == "running_var" else 0)
    if weight is None:
        return
    if weight.dim() == 1:
        weight.data.fill_((1 + float(getattr(module, "eps", 0.0))) ** 0.5)
        return
    middle = weight.data
    for n in reversed(weight.shape[2:]):
        middle = middle[..., n // 2]
    middle.fill_diagonal_(1)


def _read_by(
    reader: nn.Module | None, model: nn.Module, example: torch.Tensor | Example, bridge: Sequence[nn.Module] = ()
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
        result = call(model, example)
    finally:
        for handle in handles:
            handle.remove()
    return seen.get("read") if reader is not None else result
