"""A folder that ``torch.distributed.checkpoint`` wrote: many processes, each its own parts of the tensors.

``.metadata`` is a pickle that says which parts there are and where (torch/distributed/checkpoint/metadata.py and
filesystem.py); each part is a torch file of its own within a ``.distcp`` file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfer.structure.records import Signature
from transfer.weights.contents import Contents
from transfer.weights.formats.archive import Archive
from transfer.weights.formats.sharded import shard_at
from transfer.weights.formats.torch_zip import read_archive
from transfer.weights.inert.machine import read_pickle
from transfer.weights.inert.values import Global, StandIn
from transfer.weights.mapped import Window, map_file
from transfer.weights.stored import ITEM_SIZES, LoadedTensor, StoredTensor

if TYPE_CHECKING:
    import torch

__all__ = ["read_folder"]


@dataclass(frozen=True, slots=True)
class _Part:
    """A box of a tensor: where it begins, its size, and which bytes of which file hold it."""

    start: tuple[int, ...]
    shape: tuple[int, ...]
    file: Path
    offset: int
    n_bytes: int


def read_folder(path: Path) -> Contents:
    """Read what a folder holds, from its metadata alone.

    Parameters
    ----------
    path : Path
        Of the metadata.

    Returns
    -------
    Contents
        Nested as it was when it was saved.

    Raises
    ------
    CheckpointError
        If a part is missing.
    Exception
        Of nearly any class, if it is damaged.
    """
    held = read_pickle(Window(map_file(path))).attributes
    places = {_index(index): info.attributes for index, info in held["storage_data"].items()}
    nesting = held.get("planner_data")
    tree: dict[str, Any] = {}
    for name, about in held["state_dict_metadata"].items():
        tensor = _tensor(path, name, about, places)
        if tensor is not None:
            *outer, last = _path(name, nesting)
            inner = tree
            for key in outer:
                inner = inner.setdefault(key, {})
            inner[last] = tensor
    n_bytes = sum(file.stat().st_size for file in path.parent.glob("*.distcp"))
    return Contents("torch.distributed.checkpoint", tree, n_bytes=n_bytes)


def _path(name: str, nesting: object) -> tuple[str, ...]:
    """Where a tensor lay in what was saved."""
    path = nesting.get(name) if isinstance(nesting, Mapping) else None
    if isinstance(path, tuple) and path and all(isinstance(key, str | int) for key in path):
        return tuple(map(str, path))
    return (name,)


def _index(index: StandIn) -> tuple[str, tuple[int, ...]]:
    name = index.attributes["fqn"]
    if not isinstance(name, str):  # the hash of anything else could take for ever
        raise ValueError("a tensor without a name")
    return name, _numbers(index.attributes.get("offset") or ())


def _numbers(values: object) -> tuple[int, ...]:
    if not isinstance(values, tuple | list) or not all(type(n) is int and 0 <= n < 2**62 for n in values):
        raise ValueError("something else than a shape")
    return tuple(values)


def _tensor(path: Path, name: str, about: Any, places: Mapping[Any, Mapping[str, Any]]) -> LoadedTensor | None:
    """Describe a tensor of parts; None of what is something else."""
    if not isinstance(about, StandIn) or "chunks" not in about.attributes:
        return None
    kind, *_ = about.attributes["properties"].state
    dtype = kind.name.removeprefix("torch.") if isinstance(kind, Global) else ""
    shape = _numbers(about.attributes["size"])
    if dtype not in ITEM_SIZES:
        return None
    parts = []
    for chunk in about.attributes["chunks"]:
        start, size = _numbers(chunk.attributes["offsets"]), _numbers(chunk.attributes["sizes"])
        place = places.get((name, start)) or places[name, ()]
        if place.get("transform_descriptors"):
            raise ValueError("compressed parts")
        offset, length = place["offset"], place["length"]
        if len(start) != len(shape) or len(size) != len(shape) or offset < 0 or length < 0:
            raise ValueError(f"parts that do not fit tensor {name!r}")
        if any(first + n > most for first, n, most in zip(start, size, shape, strict=True)):
            raise ValueError(f"parts that lie outside of tensor {name!r}")
        parts.append(_Part(start, size, shard_at(path, place["relative_path"]), offset, length))
    return LoadedTensor(shape, dtype, partial(_whole, shape, dtype, tuple(parts)))


def _whole(shape: tuple[int, ...], dtype: str, parts: tuple[_Part, ...]) -> torch.Tensor:
    """Put a tensor together; one of a single part stays where it is."""
    import torch

    values = [_read(part, dtype) for part in parts]
    if len(parts) == 1 and parts[0].shape == shape:
        return values[0]
    if sum(value.numel() for value in values) != torch.Size(shape).numel():
        raise ValueError("parts that are not the whole tensor")
    whole = torch.empty(shape, dtype=getattr(torch, dtype))
    for part, value in zip(parts, values, strict=True):
        whole[tuple(slice(at, at + n) for at, n in zip(part.start, part.shape, strict=True))] = value
    return whole


def _read(part: _Part, dtype: str) -> torch.Tensor:
    data = map_file(part.file)[part.offset : part.offset + part.n_bytes]
    tensor = read_archive(Archive(data)).tree
    if not isinstance(tensor, StoredTensor) or tensor.signature != Signature(part.shape, dtype):
        raise ValueError(f"something else than a part of a tensor in '{part.file.name}'")
    return tensor.load()
