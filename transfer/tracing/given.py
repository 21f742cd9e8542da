"""Inputs of whole networks, as arguments of a call, and those that users gave for their networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakIdKeyDictionary

from transfer.errors import InputError
from transfer.tracing.copies import meta_copy
from transfer.tracing.isolation import careful

__all__ = ["Example", "give_example", "given_example", "wants_values"]

_MOST_SIZES = 8
_LARGEST_SIZE = 1 << 24
"""No input that is described by its sizes has more dimensions, or larger ones."""

_ONLY_ON_META = ("meta", "unsupported scalartype")
"""What errors say that come of the device; the second one is autocast's."""

_HOW = (
    "give a tensor for model(x), a tuple for model(*x), a dict for model(**x), or sizes without the batch, "
    "such as '3x64x64' (on the command line --input 3x64x64)"
)


@dataclass(frozen=True, eq=False, slots=True)
class Example:
    """What a network is called with.

    Parameters
    ----------
    args : tuple
    kwargs : dict of str to object
        Tensors, alone or in lists, tuples and dicts, and whatever else. Tensors on the meta device have no values
        yet.
    makes_on_meta : bool
        Whether what the network makes by itself (positions, masks) is to be on the meta device, too.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    makes_on_meta: bool = False

    def __call__(self, module: nn.Module) -> Any:
        """Run a network."""
        with torch.device("meta") if self.makes_on_meta else nullcontext():
            return module(*self.args, **self.kwargs)

    def tensors(self) -> list[torch.Tensor]:
        """List the tensors among the arguments."""
        return [leaf for leaf in tree_leaves((self.args, self.kwargs)) if isinstance(leaf, torch.Tensor)]

    def mapped(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Example:
        """Replace every tensor, by one with values perhaps."""
        args, kwargs = tree_map(
            lambda leaf: change(leaf) if isinstance(leaf, torch.Tensor) else leaf, (self.args, self.kwargs)
        )
        return Example(args, kwargs)

    def on_meta(self) -> tuple[Example, Example]:
        """Take the values away; numbers are in single precision, as in copies of networks on the meta device.

        Returns
        -------
        tuple of Example
            Ways to run a copy on the meta device: what it makes by itself may have values, or not.
        """
        made = self.mapped(
            lambda x: torch.empty_like(x, dtype=torch.float32 if x.is_floating_point() else x.dtype, device="meta")
        )
        return made, replace(made, makes_on_meta=True)

    def is_empty(self) -> bool:
        """Whether none of its tensors has values."""
        return all(x.is_meta for x in self.tensors())

    def described(self) -> str:
        """Name the sizes of its tensors."""
        return ", ".join("x".join(map(str, x.shape)) or "a number" for x in self.tensors()) or "no tensor"


_GIVEN: Any = WeakIdKeyDictionary()
"""What users gave, by their networks."""


def given_example(module: nn.Module) -> Example | None:
    """Return what the user of a network gave for it."""
    found: Example | None = _GIVEN.get(module)
    return found


def give_example(module: nn.Module, example: object) -> None:
    """Remember, as long as a network lives, what it takes: it is run on that instead of on guesses.

    Parameters
    ----------
    module : nn.Module
    example : Tensor, tuple, mapping of str to object, or str
        What `module` is called with: a tensor alone, positional arguments, or named ones. A string such as
        ``3x64x64`` gives sizes; a batch of one and values are added.

    Raises
    ------
    InputError
        If it is none of these, or the network refuses it.
    """
    refusals = []
    for made in _read(example):
        refusal = _refusal(module, made)
        if not refusal:
            _GIVEN[module] = made
            return
        refusals.append((made, refusal))
    made, refusal = refusals[0]
    raise InputError(
        f"expected an input that {type(module).__name__} takes, on {made.described()} it {refusal}; {_HOW}"
    )


def _read(example: object) -> Iterator[Example]:
    """Yield what an example may mean."""
    if isinstance(example, torch.Tensor):
        yield Example((example,), {})
    elif isinstance(example, tuple) and not hasattr(example, "_fields"):
        yield Example(example, {})
    elif isinstance(example, Mapping) and all(isinstance(name, str) for name in example):
        yield Example((), dict(example))
    elif isinstance(example, str):
        sizes = _sizes(example)
        yield Example((torch.empty(1, *sizes, device="meta"),), {})
        yield Example((torch.empty(1, *sizes, dtype=torch.long, device="meta"),), {})
    else:
        found = type(example).__name__ if not isinstance(example, Mapping) else "a dict whose keys are not names"
        raise InputError(f"expected an example input, got {found}; {_HOW}")


def _sizes(text: str) -> list[int]:
    parts = text.strip().lower().split("x")
    good = all(part.isascii() and part.isdigit() and 0 < int(part[:12]) <= _LARGEST_SIZE for part in parts)
    if not good or len(parts) > _MOST_SIZES:
        raise InputError(
            f"expected sizes of an input without the batch, such as 3x64x64, got {text[:80]!r}; {_HOW}"
        )
    return [int(part) for part in parts]


@careful("")
@torch.no_grad()
def _refusal(module: nn.Module, example: Example) -> str:
    """Say how a network refuses an example; empty if it takes it, or cannot run without values."""
    model = meta_copy(module)
    refusals = []
    for way in example.on_meta():
        try:
            way(model)
        except (Exception, SystemExit) as error:
            text = " ".join(str(error).split())
            said = f"raised {type(error).__name__}: {text[:300]}" if text else f"raised {type(error).__name__}"
            refusals.append("" if wants_values(error) else said)
        else:
            return ""
    return next((text for text in refusals if text), "")


def wants_values(error: BaseException) -> bool:
    """Whether a run on the meta device failed because the network looks at values."""
    text = str(error).lower()
    return isinstance(error, NotImplementedError) or any(word in text for word in _ONLY_ON_META)
