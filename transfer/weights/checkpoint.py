"""Weights files: names and shapes first, tensors when asked for, and only the parts that are asked for.

Of every format (`formats.registry`) what the file holds is looked at without running anything in it; one of its
state dicts is meant (`choosing`).
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from transfer.errors import CheckpointError, OutputError
from transfer.structure.records import Signature
from transfer.weights.choosing import choose, choose_names
from transfer.weights.contents import Contents
from transfer.weights.formats.registry import read_contents
from transfer.weights.formats.safetensors_file import read_header, write_tensors
from transfer.weights.inert.values import Unreadable
from transfer.weights.inspection import check_count, damaged, find_file
from transfer.weights.names import natural_order
from transfer.weights.quantization import find_quantized
from transfer.weights.reading import Reader, StateReader
from transfer.weights.states import State, find_states
from transfer.weights.stored import ITEM_SIZES, Stored, StoredTensor

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["Checkpoint", "convert", "header_checkpoint", "open_checkpoint", "save_module", "states_of", "take"]

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
    note : str
        Which of the state dicts in the file this is; empty where there is only one thing in it.
    key : str
        Where that state dict is in the file.
    """

    path: Path
    header: Mapping[str, Signature]
    _tensors: Mapping[str, Stored] = field(repr=False, compare=False)
    is_ordered: bool = True
    note: str = ""
    key: str = ""

    @contextmanager
    def opened(self) -> Iterator[Reader]:
        """Open the file for reading tensors, or parts of them, by name.

        What is read are views of the mapped file, wherever tensors lie in it as they are in memory.
        """
        yield StateReader(self._load)

    def holding(self, tensors: Mapping[str, str | Stored]) -> Checkpoint:
        """Return the same file with other names, in the order of these.

        Parameters
        ----------
        tensors : mapping of str to str or Stored
            What each name stands for: a name of now, or a tensor that the file does not have.
        """
        held = {name: self._tensors[what] if isinstance(what, str) else what for name, what in tensors.items()}
        header = {name: tensor.signature for name, tensor in held.items()}
        return replace(self, header=header, _tensors=held, is_ordered=True)

    def _load(self, name: str) -> torch.Tensor:
        stored = self._tensors[name]
        try:
            return stored.load()
        except Exception as error:  # readers of formats raise nearly anything on a damaged file
            raise damaged(self.path, error) from error


def open_checkpoint(path: str | os.PathLike[str], *, ema: bool = False, state: str | None = None) -> Checkpoint:
    """Read the header of a weights file.

    Parameters
    ----------
    path : path
        A file of any known format (`transfer.weights.formats.registry`), also with the state dict nested in it or
        with a whole pickled module; the index of a checkpoint in several files (``*.index.json``), or the folder it
        lies in; a folder of `torch.distributed.checkpoint`.
    ema : bool
        Take the averaged weights (EMA) that some training scripts keep beside the plain ones.
    state : str, optional
        Which state dict of the file to take, e.g. ``teacher``; by default the one with the most values.

    Returns
    -------
    Checkpoint

    Raises
    ------
    CheckpointError
        If there is no such file, or it is damaged, holds no state dict, not the one that is asked for, or
        quantized or sparse tensors.
    """
    path = find_file(Path(path))
    contents = read_contents(path)
    return take(states_of(contents, path), contents, path, ema=ema, state=state)


def states_of(contents: Contents, path: Path) -> list[State]:
    """Find the state dicts in what a file holds.

    Parameters
    ----------
    contents : Contents
    path : Path
        For the message.

    Returns
    -------
    list of State

    Raises
    ------
    CheckpointError
        If its values refer to each other more often than can be followed.
    """
    try:
        return find_states(contents.tree)
    except ValueError as error:
        raise damaged(path, error) from error


def take(
    states: Sequence[State], contents: Contents, path: Path, *, ema: bool = False, state: str | None = None
) -> Checkpoint:
    """Take the state dict that is meant.

    Parameters
    ----------
    states : sequence of State
        All of the file.
    contents : Contents
        Of the file.
    path : Path
    ema, state
        As for `open_checkpoint`.

    Returns
    -------
    Checkpoint

    Raises
    ------
    CheckpointError
        If there is none, not the one that is asked for, or it holds what cannot be taken.
    """
    chosen, note = choose(states, contents.tree, path, ema=ema, key=state)
    names = choose_names(chosen.tensors, path, ema=ema and not chosen.is_averaged)
    tensors = _checked({name: chosen.tensors[inner] for name, inner in names.items()}, chosen, path)
    header = {name: tensor.signature for name, tensor in tensors.items()}
    return Checkpoint(path, header, tensors, contents.is_ordered, note, chosen.key)


def header_checkpoint(
    headers: Mapping[str, bytes], path: Path, places: Mapping[str, str] | None = None
) -> Checkpoint:
    """Make a checkpoint of the headers of safetensors files, whose values are elsewhere.

    Parameters
    ----------
    headers : mapping of str to bytes
        Of each file: everything up to the end of the header, then the size of the file in eight bytes, little end
        first.
    path : Path
        What to call it.
    places : mapping of str to str, optional
        Which file holds which tensor, where there are several.

    Returns
    -------
    Checkpoint

    Raises
    ------
    CheckpointError
        If a header is damaged, or files do not fit their index.
    """
    try:
        held = {file: read_header(data[:-8], int.from_bytes(data[-8:], "little")) for file, data in headers.items()}
        if places is None:
            (contents,) = held.values()
        else:
            tree = {name: held[places[name]].tree[name] for name in natural_order(places)}
            contents = Contents("safetensors", tree, is_ordered=False)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged(path, error) from error
    return take(states_of(contents, path), contents, path)


def _checked(tensors: Mapping[str, Stored | Unreadable], state: State, path: Path) -> dict[str, Stored]:
    """Refuse what no network has, and what has no plain values."""
    check_count(len(tensors), path)
    deepest = max(name.count(".") for name in tensors)
    if deepest > _MAX_DEPTH:
        raise CheckpointError(
            f"expected tensors within at most {_MAX_DEPTH} nested modules in '{path}', got some within {deepest}; "
            "do not trust this file"
        )
    quantized = find_quantized(tensors)
    if quantized is not None:
        raise CheckpointError(
            f"expected plain values in '{path}', tensor {quantized[0]!r} shows that {quantized[1]} quantized the "
            "network; take the weights it was made from, or dequantize it first"
        )
    _check_claims(state, path)
    found = {}
    for name, tensor in tensors.items():
        if isinstance(tensor, Unreadable):
            raise CheckpointError(
                f"expected dense tensors with values in '{path}', got {tensor.kind} tensor {name!r}; save it as a "
                "dense one"
            )
        found[name] = tensor
    return found


def _check_claims(state: State, path: Path) -> None:
    """Refuse tensors that unfold to more than the file, e.g. by strides of zero, alone or all together."""
    stored = {name: tensor for name, tensor in state.tensors.items() if isinstance(tensor, StoredTensor)}
    size = path.stat().st_size if stored else 0
    for name, tensor in stored.items():
        if math.prod(tensor.shape) * ITEM_SIZES[tensor.dtype] > size:
            raise CheckpointError(
                f"expected stored values for every element in '{path}', tensor {name!r} of shape {tensor.shape} "
                "claims more than the file holds; do not trust this file"
            )
    storages = {id(tensor.storage): tensor.storage.n_bytes for tensor in stored.values()}
    if sum(storages.values()) > size:
        raise CheckpointError(
            f"expected values of their own for all tensors in '{path}' ({size:,} bytes), they claim "
            f"{sum(storages.values()):,} bytes; do not trust this file"
        )


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

    state = module.state_dict()
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor) or tensor.layout is not torch.strided or tensor.is_meta:
            raise OutputError(
                f"expected dense tensors with values to write to '{path}', {name!r} is not one and safetensors "
                "cannot hold it; transfer in Python and save the module with torch.save"
            )
    write_tensors(state, Path(path), metadata)


def convert(
    path: str | os.PathLike[str], output: str | os.PathLike[str], *, ema: bool = False, state: str | None = None
) -> Checkpoint:
    """Write the tensors of a weights file of any known format as safetensors, in their order.

    Parameters
    ----------
    path, ema, state
        As for `open_checkpoint`.
    output : path
        An existing file is replaced whole or not at all.

    Returns
    -------
    Checkpoint
        What was read.

    Raises
    ------
    CheckpointError
        As `open_checkpoint`.
    OutputError
        If the file cannot be written, or safetensors has no such element type.
    """
    checkpoint = open_checkpoint(path, ema=ema, state=state)
    with checkpoint.opened() as read:
        tensors = {name: read(name) for name in checkpoint.header}
        write_tensors(tensors, Path(output), {"zoo.source": checkpoint.path.name}, is_ordered=checkpoint.is_ordered)
    return checkpoint
