"""What a whole network is run on: what its user gave for it, else the first guess that it takes.

All who run a whole network ask here, with the network itself. It is run without values, on the meta device. One
that looks at values (in a condition, in a size) fails there; it is run on the CPU, with random values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.weak import WeakIdKeyDictionary

from transfer.tracing.copies import meta_copy, plain_tensors, random_copy
from transfer.tracing.given import Example, given_example, wants_values
from transfer.tracing.guesses import guesses
from transfer.tracing.isolation import restorer_of
from transfer.tracing.running import Guard

__all__ = ["example_of", "network_examples", "runnable", "runs", "watched"]

W = TypeVar("W", bound=AbstractContextManager[Any])

_MOST_PRODUCTS = 10_000_000_000
"""A network that would take more multiplications is not run with values: a second of one core or two."""

_MOST_WITH_VALUES = 4
"""Examples that are tried with values."""

_KNOWN: Any = WeakIdKeyDictionary()
"""Examples that networks took, with what they are remembered by."""


def runnable(module: nn.Module) -> tuple[nn.Module, Example] | None:
    """Copy a network and find what it can be run on: on the meta device, or if it looks at values, on the CPU.

    Parameters
    ----------
    module : nn.Module
        The network itself, not a copy: examples are remembered by it. Not changed.

    Returns
    -------
    nn.Module, Example
        A copy in evaluation mode, and what it takes: ``example(copy)`` runs it. None if it takes nothing that was
        tried.
    """
    model = meta_copy(module)
    given = given_example(module)
    way = next((way for way in given.on_meta() if runs(model, way)), None) if given is not None else None
    if way is None:
        found = _guess(module, model)
        way = found[1] if found is not None else None
    if way is None or way.is_empty():
        return None if way is None else (model, way)
    with_values = random_copy(module)
    return None if with_values is None else (with_values, way)


def watched(module: nn.Module, watch: Callable[[nn.Module], W]) -> tuple[W, Any] | None:
    """Run a network once, as `runnable` finds, under a watch.

    Parameters
    ----------
    module : nn.Module
        As for `runnable`.
    watch : callable
        Makes a context for a run of a network that it is given; a new one for each example that is tried.

    Returns
    -------
    context, object
        That of the run, and what the network returned. None if it takes nothing that was tried.
    """
    is_new = given_example(module) is None and _known(module) is None
    if is_new:
        model = module.eval() if _is_bare(module) else meta_copy(module)
        ways = _tried(model)
    else:
        found = runnable(module)
        model = module if found is None else found[0]
        ways = iter([] if found is None else [(found[1], found[1])])
    seen: list[tuple[W, Any]] = []

    def run(model: nn.Module, way: Example) -> Any:
        context = watch(model)
        with context:
            result = way(model)
        seen.append((context, result))
        return result

    both, place = _first_that_fits(module, model, ways, run)
    if is_new:
        _KNOWN[module] = _state(module), both
    return None if both is None else seen[place]


def example_of(module: nn.Module) -> Example | None:
    """Return what was given for a network, with its values, or else a guess that it takes."""
    given = given_example(module)
    if given is not None:
        return given
    found = _guess(module)
    return None if found is None else found[0]


def _guess(module: nn.Module, model: nn.Module | None = None) -> tuple[Example, Example] | None:
    """Find a guess that a network takes, and a way to run a copy on it; the copy is made here if need be."""
    known = _known(module)
    if known is None:
        made = meta_copy(module) if model is None else model
        given = given_example(module)
        found = _with_values(module, [given], _run) if given is not None else None
        known = _KNOWN[module] = _state(module), found or _first_that_fits(module, made, _tried(made), _run)[0]
    return known[1]


def _known(module: nn.Module) -> tuple[Any, tuple[Example, Example] | None] | None:
    """Return what was found before for a network in this state."""
    known: tuple[Any, tuple[Example, Example] | None] | None = _KNOWN.get(module)
    return known if known is not None and known[0] == _state(module) else None


def _state(module: nn.Module) -> tuple[Example | None, tuple[torch.Size, ...]]:
    """Return what decides which example a network takes: the one given for it, the shapes of its parameters."""
    return given_example(module), tuple(parameter.shape for parameter in module.parameters())


def _run(model: nn.Module, way: Example) -> Any:
    return way(model)


def _tried(model: nn.Module) -> Iterator[tuple[Example, Example]]:
    """Yield guesses, and ways to run a copy on them."""
    return ((guess, guess.on_meta()[i]) for i in range(2) for guess in guesses(model))


def _first_that_fits(
    module: nn.Module,
    model: nn.Module,
    tried: Iterable[tuple[Example, Example]],
    run: Callable[[nn.Module, Example], Any],
) -> tuple[tuple[Example, Example] | None, int]:
    """Return the first example that a network takes and makes one result of; else the first that it takes.

    Also which of the runs that succeeded it was. Networks may remember an example (Swin of transformers the size of
    its windows), so each finds the network as it was.
    """
    other, n_done = None, 0
    looking: list[Example] = []
    restore = restorer_of(model)
    for both in tried:
        restore()
        try:
            with torch.no_grad():
                result = run(model, both[1])
        except (Exception, SystemExit) as error:
            looking += [both[0]] if wants_values(error) else []
            continue
        n_done += 1
        if not (isinstance(result, torch.Tensor) and result.dim() and result.shape[0] > 1):
            return both, n_done - 1
        other = other or both  # as a rule a map too large, viewed as several rows
    return (other, 0) if other is not None or not looking else (_with_values(module, looking, run), 0)


def _with_values(
    module: nn.Module, looking: Sequence[Example], run: Callable[[nn.Module, Example], Any]
) -> tuple[Example, Example] | None:
    """Return the first of some examples that a network takes on the CPU, and itself with values."""
    model = random_copy(module)
    if model is None:
        return None
    restore = restorer_of(model)
    for example in looking[:_MOST_WITH_VALUES]:
        restore()
        way = valued(example)
        with suppress(Exception, SystemExit), torch.no_grad(), Guard([], 2 * _MOST_PRODUCTS):
            run(model, way)
            return example, way
    return None


def _is_bare(module: nn.Module) -> bool:
    """Whether a network has neither values nor hooks, so that it may be run as it is; copying takes as long."""
    tensors = [*module.parameters(), *module.buffers()]
    tensors += [tensor for part in module.modules() for tensor in plain_tensors(part)]
    are_empty = all(t.is_meta and t.dtype in (torch.float32, torch.int64, torch.bool) for t in tensors)
    return are_empty and not any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())


def runs(model: nn.Module, example: Example) -> bool:
    """Whether a network takes an example."""
    with suppress(Exception, SystemExit), torch.no_grad():
        example(model)
        return True
    return False


def network_examples(module: nn.Module) -> Iterator[Example]:
    """Yield what a whole network takes, with values, if running it does not take long; see `runnable`."""
    found = runnable(module)
    if found is None:
        return
    with FlopCounterMode(display=False) as counter:
        runs(*found)
    if counter.get_total_flops() <= 2 * _MOST_PRODUCTS:
        given = given_example(module)
        chosen = given if given is not None and given.described() == found[1].described() else found[1]
        yield valued(chosen)


def valued(example: Example) -> Example:
    """Give tensors on the meta device values, none of them negative; others go to the CPU."""
    generator = torch.Generator().manual_seed(1)
    return example.mapped(lambda x: _positive(x, generator))


def _positive(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    if not x.is_meta:
        return x.detach().to("cpu", torch.float32 if x.is_floating_point() else x.dtype)
    if x.is_floating_point():
        return torch.rand(x.shape, generator=generator) + 0.1
    return torch.randint(0, 2, x.shape, generator=generator)
