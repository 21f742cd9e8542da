"""What to run two networks on: inputs that both may take, with values; and what stands in the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import NamedTuple

import torch
from torch import nn

from transfer.tracing.copies import meta_copy
from transfer.tracing.given import Example, given_example
from transfer.tracing.guesses import guesses
from transfer.tracing.inputs import example_of, runs
from transfer.tracing.isolation import isolated
from transfer.tracing.running import CostError, Ran, bare, run

__all__ = ["RefusalError", "Trial", "attempt", "n_words", "trials"]

_N_BLIND = 3
"""Guesses that are tried with values where none is taken without."""

_LEAST_WORDS = 16
"""A table of fewer rows is not one of words."""


class RefusalError(Exception):
    """Two networks cannot be run on one input; the text says why."""


class Trial(NamedTuple):
    """What each of two networks is run on; tensors without values get random ones, the same for both."""

    source: Example
    target: Example


def trials(source: nn.Module, target: nn.Module) -> Iterator[Trial]:
    """Yield what two networks may take: what was given for the target, or what suits the one or the other, or both.

    Parameters
    ----------
    source, target : nn.Module
        Not changed.
    """
    source, target = bare(source), bare(target)
    with isolated(source), isolated(target):
        found = [_asked(example_of, target)]
        if given_example(target) is None:
            found.append(_asked(example_of, source))
    if found[0] is None:  # without values it takes none; with them it may
        found = [*islice(guesses(target), _N_BLIND), *found]
    for example in found:
        if example is not None:
            yield from (Trial(variant, example) for variant in _variants(example))
    if given_example(target) is None:
        with isolated(source), isolated(target):
            common = _asked(_common, source, target)
        if common is not None:
            yield Trial(common, common)


def _asked(ask: Callable[..., Example | None], *networks: nn.Module) -> Example | None:
    """Ask networks that may have their own way to be copied or to list their parts."""
    try:
        return ask(*networks)
    except KeyboardInterrupt:
        raise
    except BaseException:
        return None


def _common(source: nn.Module, target: nn.Module) -> Example | None:
    copies = meta_copy(source), meta_copy(target)
    return next((guess for guess in guesses(target) if all(_takes(copy, guess) for copy in copies)), None)


def _takes(model: nn.Module, guess: Example) -> bool:
    return any(runs(model, way) for way in guess.on_meta())


def _variants(example: Example) -> Iterator[Example]:
    """Yield ways to call a network that takes the same, perhaps under other names."""
    yield example
    tensors = tuple(example.tensors())
    if example.kwargs:
        yield Example(tensors, {})
    if len(tensors) > 1:
        yield Example(tensors[:1], {})


def n_words(*networks: nn.Module) -> int:
    """Return how many words all of some networks know; 2, the least that a table holds, where there are none."""
    tables = [
        part.num_embeddings for network in networks for part in network.modules() if isinstance(part, nn.Embedding)
    ]
    return min((n for n in tables if n >= _LEAST_WORDS), default=2)


def attempt(module: nn.Module, example: Example, words: int, variation: int, most: float) -> Ran:
    """Run a network on an example, or on a variation of it.

    Parameters
    ----------
    module : nn.Module
    example : Example
    words : int
        Random integers are below it.
    variation : int
        0 for the values of the example themselves.
    most : float
        Operations that it may take.

    Raises
    ------
    CostError
        If it takes more.
    RefusalError
        If it cannot be run.
    """
    generator = torch.Generator().manual_seed(variation + 1)
    place = next((x for x in module.parameters() if x.is_floating_point()), torch.empty(0))

    def filled(x: torch.Tensor) -> torch.Tensor:
        if not x.is_meta:
            x = _shuffled(x.detach(), generator) if variation else x.detach()
        elif x.is_floating_point():
            x = torch.randn(x.shape, generator=generator)
        else:
            x = torch.randint(0, words, x.shape, generator=generator).to(x.dtype)
        return x.to(place.device, place.dtype if x.is_floating_point() else x.dtype)

    try:
        return run(module, example.mapped(filled), most)
    except (KeyboardInterrupt, CostError):
        raise
    except BaseException as error:  # a stranger's code
        text = " ".join(str(error).split())[:200]
        raise RefusalError(f"{type(error).__name__}: {text}" if text else type(error).__name__) from error


def _shuffled(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Another input of the kind: values in other places."""
    order = torch.randperm(x.numel(), generator=generator)
    return x.flatten()[order.to(x.device)].view(x.shape)
