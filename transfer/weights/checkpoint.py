"""Weights files: names and shapes first, tensors when asked for, and only the parts that are asked for.

Formats: safetensors and torch files (zip and legacy), in one file or in several with an index.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from transfer.errors import CheckpointError, OutputError
from transfer.structure.records import Signature
from transfer.weights import safetensors_format, torch_format
from transfer.weights.inspection import find_file, first_bytes
from transfer.weights.reading import Reader, StateReader
from transfer.weights.shards import check_shards, read_index
from transfer.weights.wrappers import choose_names

if TYPE_CHECKING:
    import torch
    from torch import nn

    Lookup = Callable[[str], torch.Tensor]

__all__ = ["Checkpoint", "open_checkpoint", "save_module"]

_MAX_DEPTH = 200
"""No network nests deeper; what walks the names recursively relies on it."""


@dataclass(frozen=True)
class Checkpoint:
    """A weights file whose header has been read.

    Parameters
    ----------
    path : Path
    header : mapping of str to Signature
        In the order of registration where the file tells it, else sorted.
    is_ordered : bool
        Whether the file tells it.
    """

    path: Path
    header: Mapping[str, Signature]
    _map: Callable[[], AbstractContextManager[Lookup]] = field(repr=False, compare=False)
    is_ordered: bool = True

    @contextmanager
    def opened(self) -> Iterator[Reader]:
        """Open the file for reading tensors, or parts of them, by name.

        What is read are views of the mapped file, but for legacy torch files, which cannot be mapped.
        """
        with self._map() as lookup:
            yield StateReader(lookup)


def open_checkpoint(path: str | os.PathLike[str], *, ema: bool = False) -> Checkpoint:
    """Read the header of a weights file.

    Parameters
    ----------
    path : path
        A safetensors file; a torch file with a state dict, also nested as ``{"state_dict": ...}``; the index of
        a checkpoint in several files (``*.index.json``), or the folder it lies in.
    ema : bool
        Take the averaged weights (EMA) that some training scripts keep beside the plain ones.

    Returns
    -------
    Checkpoint

    Raises
    ------
    CheckpointError
        If there is no such file, or it is damaged, holds no state dict or no averaged one, or is not safe to
        read.
    """
    path = find_file(Path(path))
    opened = _open_shards(path, ema) if path.name.endswith(".index.json") else _open_file(path, ema)
    deepest = max(name.count(".") for name in opened.header)
    if deepest > _MAX_DEPTH:
        raise CheckpointError(
            f"expected tensors within at most {_MAX_DEPTH} nested modules in '{path}', got some within {deepest}; "
            "do not trust this file"
        )
    return opened


def _open_file(path: Path, ema: bool | None) -> Checkpoint:
    start = first_bytes(path)
    if path.suffix != ".safetensors" and start[8:] != b"{":
        state = torch_format.read_state(path, ema=ema)
        return Checkpoint(path, torch_format.signatures(state), lambda: nullcontext(state.__getitem__))
    stored, is_ordered = safetensors_format.read_header(path)
    names = choose_names(stored, path, ema=ema)
    header = {name: stored[inner] for name, inner in names.items()}
    return Checkpoint(path, header, partial(_map_file, path, stored, names), is_ordered)


@contextmanager
def _map_file(path: Path, stored: Mapping[str, Signature], names: Mapping[str, str]) -> Iterator[Lookup]:
    with safetensors_format.map_tensors(path, stored) as lookup:
        yield lambda name: lookup(names[name])


def _open_shards(path: Path, ema: bool) -> Checkpoint:
    first_bytes(path)
    places = read_index(path)
    shards = {shard: _open_file(shard, None) for shard in dict.fromkeys(places.values())}
    check_shards(places, {shard: opened.header for shard, opened in shards.items()}, path)
    names = choose_names(safetensors_format.natural_order(places), path, ema=ema)
    header = {name: shards[places[inner]].header[inner] for name, inner in names.items()}
    return Checkpoint(path, header, partial(_map_shards, shards, places, names), is_ordered=False)


@contextmanager
def _map_shards(
    shards: Mapping[Path, Checkpoint], places: Mapping[str, Path], names: Mapping[str, str]
) -> Iterator[Lookup]:
    with ExitStack() as stack:
        lookups = {shard: stack.enter_context(opened._map()) for shard, opened in shards.items()}
        yield lambda name: lookups[places[names[name]]](names[name])


def save_module(module: nn.Module, path: str | os.PathLike[str], metadata: Mapping[str, str]) -> None:
    """Save a module's state dict as safetensors; an existing file is replaced whole or not at all.

    Tied tensors are written once per name, so ``load_state_dict`` finds every key.

    Parameters
    ----------
    module : nn.Module
    path : path
    metadata : mapping of str to str

    Raises
    ------
    OutputError
        If the file cannot be written, or the state dict holds what safetensors cannot.
    """
    import torch

    seen: set[int] = set()
    state = {}
    for name, tensor in module.state_dict().items():
        if not isinstance(tensor, torch.Tensor) or tensor.layout is not torch.strided or tensor.is_meta:
            raise OutputError(
                f"expected dense tensors with values to write to '{path}', {name!r} is not one and safetensors "
                "cannot hold it; transfer in Python and save the module with torch.save"
            )
        value = tensor.detach().cpu().contiguous()
        storage = value.untyped_storage().data_ptr()
        state[name] = value.clone() if storage in seen else value
        seen.add(storage)
    safetensors_format.write_tensors(state, Path(path), metadata)
