"""Checkpoints in several files: their index (`transfer.weights.indexes`) and the tensors in each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from transfer.errors import CheckpointError
from transfer.weights.choosing import choose
from transfer.weights.contents import Contents
from transfer.weights.indexes import INDEX, MOST_BYTES, is_below, read_index
from transfer.weights.inspection import check_count
from transfer.weights.names import natural_order
from transfer.weights.states import find_states

__all__ = ["read_index_file", "shard_at"]


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
        tree = read_contents(shard).tree
        held[shard] = choose(find_states(tree), tree, shard)[0].tensors
    _check_shards(places, held, path)
    return Contents(
        "shards",
        {name: held[places[name]][name] for name in natural_order(places)},
        is_ordered=False,
        n_bytes=sum(shard.stat().st_size for shard in held),
    )


def _read_index(path: Path) -> dict[str, Path]:
    """Read the file of each tensor; all of them lie beside the index."""
    if path.stat().st_size > MOST_BYTES:
        raise CheckpointError(f"expected an index of at most {MOST_BYTES:,} bytes in '{path}', got a larger file")
    try:
        places = read_index(path.read_bytes())
    except (ValueError, OSError) as error:
        raise CheckpointError(
            f"expected an index of shards ({{\"weight_map\": {{tensor: file}}}}) in '{path}', got {error}; "
            "download it again, or name a weights file"
        ) from error
    check_count(len(places), path)
    for file in places.values():
        if file.endswith(INDEX):  # which could name each other without end
            raise CheckpointError(
                f"expected weights files as the shards of '{path}', it names another index, {file!r}; name that one"
            )
    return {name: shard_at(path, file) for name, file in places.items()}


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
    if "\0" not in file and not is_below(file):  # no system has a file of such a name
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
