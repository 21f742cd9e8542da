"""What a transfer is given to read from, checked and opened."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn

from transfer.errors import InputError
from transfer.planning.several import called, numbered
from transfer.weights.checkpoint import Checkpoint, open_checkpoint
from transfer.weights.reading import Reader, StateReader
from transfer.weights.renaming import named_like

if TYPE_CHECKING:
    from transfer.structure.records import Architecture

__all__ = ["Given", "SourceLike", "given_sources"]

Network = nn.Module | Checkpoint | Mapping[str, torch.Tensor]
SourceLike = Network | str | os.PathLike[str]
"""What can lend parameters."""


@dataclass(frozen=True)
class Given:
    """A source.

    Parameters
    ----------
    network : nn.Module, Checkpoint or state dict
        With the weights.
    structure : nn.Module, Architecture, Checkpoint or state dict
        What is planned with; the network where nothing else was given.
    name : str
    """

    network: Network
    structure: Network | Architecture
    name: str

    @property
    def module(self) -> nn.Module | None:
        """The structure, where it can be run."""
        return self.structure if isinstance(self.structure, nn.Module) else None

    @contextmanager
    def opened(self) -> Iterator[Reader]:
        """Give what reads its tensors."""
        if isinstance(self.network, Checkpoint):
            with self.network.opened() as read:
                yield read
        else:
            state = self.network.state_dict() if isinstance(self.network, nn.Module) else self.network
            yield StateReader(state.__getitem__)

    def shares_memory(self, target: nn.Module) -> bool:
        """Whether a tensor of it lies in the memory of one of the target."""
        if isinstance(self.network, Checkpoint):
            return False
        network = self.network
        states = network.state_dict() if isinstance(network, nn.Module) else network, target.state_dict()
        own, other = (
            {(t.device, t.untyped_storage().data_ptr()) for t in state.values() if isinstance(t, torch.Tensor)}
            for state in states
        )
        return not own.isdisjoint(other)


def given_sources(
    source: SourceLike | Sequence[SourceLike],
    structure: nn.Module | Architecture | Sequence[nn.Module | Architecture | None] | None,
    name: str | Sequence[str],
    *,
    ema: bool,
) -> list[Given]:
    """Check and open what a transfer is given.

    Parameters
    ----------
    source : nn.Module, Checkpoint, state dict or path, or a list or tuple of these
    structure, name
        Of the source, one for each where there are several; None and empty where there is nothing to say.
    ema : bool
        Take the averaged weights of files.

    Raises
    ------
    InputError
        If a source is nothing that has weights, or there are not as many structures or names as sources.
    CheckpointError
        If a file cannot be read.
    """
    are_several = isinstance(source, list | tuple)
    sources = cast(Sequence[SourceLike], source if are_several else [source])
    structures = _each(structure, len(sources), "source_structure", is_list=are_several)
    names = _each(name, len(sources), "source_name", is_list=are_several)
    networks = [_network(one, ema=ema) for one in sources]
    found = [str(name or called(network)) for name, network in zip(names, networks, strict=True)]
    networks = [_named_like(*both) for both in zip(networks, structures, strict=True)]
    return [
        Given(network, network if structure is None else structure, name)
        for network, structure, name in zip(networks, structures, numbered(found), strict=True)
    ]


def _named_like(network: Network, structure: object) -> Network:
    """Give the tensors of a file the names of its module, where that has one for each."""
    if isinstance(network, Checkpoint) and isinstance(structure, nn.Module):
        return named_like(network, structure)[0]
    return network


def _each(values: Any, n: int, what: str, *, is_list: bool) -> list[Any]:
    """Return one value for each source."""
    if not is_list:
        return [values]
    if not values:
        return [None] * n
    if isinstance(values, list | tuple) and len(values) == n:
        return list(values)
    found = f"{len(values)}" if isinstance(values, list | tuple) else type(values).__name__
    raise InputError(f"expected {what} to be a list of {n}, one for each source, got {found}")


def _network(source: SourceLike, *, ema: bool) -> Network:
    if isinstance(source, nn.Module) and any(
        getattr(tensor, "is_meta", False) for tensor in source.state_dict().values()
    ):
        raise InputError("expected a source with weights, got a module on the meta device; load its weights first")
    if not isinstance(source, nn.Module | Checkpoint | Mapping | str | os.PathLike):
        raise InputError(f"expected a module, a state dict, a checkpoint or a path, got {type(source).__name__}")
    if isinstance(source, Mapping):
        _check_tensors(source)
    if not isinstance(source, str | os.PathLike):
        if ema:
            raise InputError(
                f"expected the path of a checkpoint with ema=True, got {type(source).__name__}; "
                "open the averaged weights themselves: open_checkpoint(path, ema=True)"
            )
        return source
    return open_checkpoint(source, ema=ema)


def _check_tensors(source: Mapping[str, object]) -> None:
    for name, value in source.items():
        if not isinstance(value, torch.Tensor):
            raise InputError(
                f"expected torch tensors as weights, {name!r} is of type {type(value).__name__}; "
                "convert it: torch.from_numpy(value)"
            )
