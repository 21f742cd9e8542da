"""Ways to start a target from a source, all in place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cache, partial
from typing import get_args, get_type_hints

import torch
from _peer import load_iatransfer, run_iatransfer
from torch import Tensor, nn

import transfer
from transfer.options import Options

Start = Callable[[nn.Module, nn.Module], object]
"""Changes the second network, given the first; False where it does not apply."""


def random(source: nn.Module, target: nn.Module) -> None:
    """Leave the target as it is."""


def same_name(source: nn.Module, target: nn.Module) -> None:
    """Load what agrees in name and shape."""
    theirs, ours = source.state_dict(), target.state_dict()
    target.load_state_dict(
        {name: value for name, value in theirs.items() if name in ours and ours[name].shape == value.shape},
        strict=False,
    )


def weight_selection(source: nn.Module, target: nn.Module) -> bool | None:
    """Pick elements of equally named tensors at even distances (arXiv 2311.18823); first layers of each stage.

    Applies where every tensor of the target has one of its name in the source that is at least as large.
    """
    theirs, ours = source.state_dict(), target.state_dict()
    for name, value in ours.items():
        other = theirs.get(name)
        if other is None or other.ndim != value.ndim or any(map(int.__lt__, other.shape, value.shape)):
            return False
    target.load_state_dict({name: select_evenly(theirs[name], value.shape) for name, value in ours.items()})
    return None


def select_evenly(value: Tensor, shape: torch.Size) -> Tensor:
    for axis, (n, wanted) in enumerate(zip(value.shape, shape, strict=True)):
        if n % wanted == 0:
            chosen = torch.arange(wanted) * (n // wanted)
        else:
            chosen = torch.linspace(0, n - 1, wanted).round().long()
        value = value.index_select(axis, chosen)
    return value


def ablations() -> dict[str, Options]:
    """Options with one choice of `dpiat` made otherwise."""
    default, kinds, found = Options(), get_type_hints(Options), {}
    for field in fields(Options):
        value = getattr(default, field.name)
        others = (not value,) if kinds[field.name] is bool else get_args(kinds[field.name])
        found |= {
            f"{field.name}={other}": Options(**{field.name: other})
            for other in others
            if other != value and field.name != "head"
        }
    return found


@cache
def starts(peer: str) -> dict[str, Start]:
    """Return every way by name; `peer` is the folder of iatransfer."""

    def iatransfer(source: nn.Module, target: nn.Module) -> None:
        run_iatransfer(load_iatransfer(peer), source, target)

    return {
        "random": random,
        "same name": same_name,
        "weight selection": weight_selection,
        "iatransfer": iatransfer,
        "paper": partial(transfer.transfer, method="paper", verify=False),
        "dpiat": partial(transfer.transfer, verify=False),
        **{
            name: partial(transfer.transfer, options=options, verify=False) for name, options in ablations().items()
        },
    }
