"""Look into a weights file: which state dicts it holds, and which of them would be taken."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from transfer.errors import CheckpointError
from transfer.weights.checkpoint import states_of, take
from transfer.weights.formats.registry import read_contents
from transfer.weights.inert.values import Unreadable
from transfer.weights.inspection import find_file
from transfer.weights.states import State

__all__ = ["HeldState", "Holdings", "inspect"]


@dataclass(frozen=True, slots=True)
class HeldState:
    """One state dict in a file.

    Parameters
    ----------
    key : str
        Where it is, e.g. ``state_dict``; empty for what is not nested.
    kind : {'weights', 'averaged weights', 'optimizer'}
    n_tensors, n_values, n_bytes : int
    types : mapping of str to int
        How many tensors have each element type; ``sparse``, ``quantized`` and others for what has no plain values.
    is_taken : bool
        Whether it is read where nothing else is asked for.
    """

    key: str
    kind: str
    n_tensors: int
    n_values: int
    n_bytes: int
    types: Mapping[str, int]
    is_taken: bool


@dataclass(frozen=True, slots=True)
class Holdings:
    """What a file holds.

    Parameters
    ----------
    path : str
    format : str
    n_bytes : int
        Of the file.
    states : tuple of HeldState
    is_ordered : bool
        Whether the file tells the order in which the network registers its tensors.
    refusal : str
        Why none can be taken; empty if one can.
    tensors : mapping of str to tuple
        Shape and element type of each tensor that would be taken.
    """

    path: str
    format: str
    n_bytes: int
    states: tuple[HeldState, ...]
    is_ordered: bool
    refusal: str
    tensors: Mapping[str, tuple[tuple[int, ...], str]]

    def to_json(self) -> dict[str, Any]:
        """Return JSON values."""
        tensors = [{"name": name, "shape": list(s), "dtype": dtype} for name, (s, dtype) in self.tensors.items()]
        return {**asdict(self), "tensors": tensors}


def inspect(path: str | os.PathLike[str], *, ema: bool = False, state: str | None = None) -> Holdings:
    """Say what a weights file holds; no tensor is read.

    Parameters
    ----------
    path, ema, state
        As for `open_checkpoint`.

    Returns
    -------
    Holdings

    Raises
    ------
    CheckpointError
        If there is no such file, or it cannot be read at all.
    """
    found = find_file(Path(path))
    contents = read_contents(found)
    states = states_of(contents, found)
    taken, refusal = None, ""
    try:
        taken = take(states, contents, found, ema=ema, state=state)
    except CheckpointError as error:
        refusal = str(error)
    header = taken.header if taken else {}
    return Holdings(
        path=str(path),
        format=contents.format,
        n_bytes=contents.n_bytes if contents.n_bytes is not None else found.stat().st_size,
        states=tuple(_held(one, is_taken=taken is not None and one.key == taken.key) for one in states),
        is_ordered=contents.is_ordered,
        refusal=refusal,
        tensors={name: (signature.shape, signature.dtype) for name, signature in header.items()},
    )


def _held(state: State, *, is_taken: bool) -> HeldState:
    kind = "optimizer" if state.is_optimizer else "averaged weights" if state.is_averaged else "weights"
    types = Counter(
        tensor.kind if isinstance(tensor, Unreadable) else tensor.signature.dtype
        for tensor in state.tensors.values()
    )
    return HeldState(state.key, kind, len(state.tensors), state.n_values, state.n_bytes, dict(types), is_taken)
