"""Checkpoints in several files: an index says which file holds which tensor.

The index is ``{"weight_map": {tensor: file}}``, as in ``model.safetensors.index.json`` and
``pytorch_model.bin.index.json``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from transfer.errors import CheckpointError
from transfer.weights.choosing import choose
from transfer.weights.contents import Contents
from transfer.weights.inspection import check_count
from transfer.weights.names import natural_order

__all__ = ["read_index_file", "shard_at"]

_MAX_INDEX = 100_000_000
"""Bytes; what safetensors allows a header."""


def read_index_file(path: Path) -> Contents:
    """Read what the shards of an index hold, as one.

    Parameters
    ----------
    path : Path
        Of the index.

    Returns
    -------
    Contents

    Raises
    ------
    CheckpointError
        If it is no index, or does not fit its shards.
    """
    from transfer.weights.formats.registry import read_contents  # which knows this module

    places = _read_index(path)
    held = {}
    for shard in dict.fromkeys(places.values()):
        held[shard] = choose(read_contents(shard).tree, shard)[0].tensors
    _check_shards(places, held, path)
    return Contents(
        "shards",
        {name: held[places[name]][name] for name in natural_order(places)},
        is_ordered=False,
        n_bytes=sum(shard.stat().st_size for shard in held),
    )


def _read_index(path: Path) -> dict[str, Path]:
    """Read the index of a checkpoint in several files.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict of str to Path
        The file of each tensor; all of them beside the index.

    Raises
    ------
    CheckpointError
        If it is no index, or names a file elsewhere or one that does not exist.
    """
    if path.stat().st_size > _MAX_INDEX:
        raise CheckpointError(f"expected an index of at most {_MAX_INDEX:,} bytes in '{path}', got a larger file")
    try:
        content = json.loads(path.read_bytes(), object_pairs_hook=_without_duplicates)
        places = content["weight_map"]
        is_map = isinstance(places, dict) and all(isinstance(file, str) for file in places.values())
    except (ValueError, KeyError, TypeError, RecursionError, OSError) as error:
        raise _no_index(path, f"{type(error).__name__}: {error}"[:200]) from error
    if not is_map or not places:
        raise _no_index(path, "a weight_map without tensors" if is_map else "another weight_map")
    check_count(len(places), path)
    return {name: shard_at(path, file) for name, file in places.items()}


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        name = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise ValueError(f"{name!r} occurs twice")
    return found


def _no_index(path: Path, found: str) -> CheckpointError:
    return CheckpointError(
        f"expected an index of shards ({{\"weight_map\": {{tensor: file}}}}) in '{path}', got {found}; "
        "download it again, or name a weights file"
    )


def shard_at(path: Path, file: str) -> Path:
    """Return the file that an index names.

    Parameters
    ----------
    path : Path
        Of the index.
    file : str

    Raises
    ------
    CheckpointError
        If it does not lie beside the index, or does not exist.
    """
    # The names only: in a hub's cache the shards themselves are links to files elsewhere.
    for kind in (PurePosixPath(file), PureWindowsPath(file)):
        if kind.root or kind.drive or ".." in kind.parts or not kind.name:
            raise CheckpointError(
                f"expected shards beside their index '{path}', it names {file!r}; do not trust this file"
            )
    shard = path.parent / file
    try:
        is_file = shard.is_file()
    except (OSError, ValueError):
        is_file = False
    if not is_file:
        raise CheckpointError(
            f"expected all shards beside their index '{path}', {file!r} is missing; download it too"
        )
    return shard


def _check_shards(places: Mapping[str, Path], held: Mapping[Path, Iterable[str]], path: Path) -> None:
    """Check an index against what its shards hold; a shard may hold tensors that the index does not name.

    Parameters
    ----------
    places : mapping of str to Path
        The file of each tensor.
    held : mapping of Path to iterable of str
        Names of the tensors in each file.
    path : Path
        Of the index.

    Raises
    ------
    CheckpointError
        If a shard lacks a tensor, or a tensor stands in several shards.
    """
    found: dict[str, Path] = {}
    for shard, names in held.items():
        for name in names:
            if name in places and name in found:
                raise CheckpointError(
                    f"expected every tensor in one shard of '{path}', {name!r} is in '{found[name].name}' and "
                    f"'{shard.name}'; remove what does not belong there"
                )
            found[name] = shard
    for name, shard in places.items():
        if found.get(name) != shard:
            raise CheckpointError(
                f"expected tensor {name!r} in shard '{shard.name}' as '{path}' says, it is not there; "
                "download both again"
            )
