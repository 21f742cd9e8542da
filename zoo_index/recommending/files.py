"""Sources that are files on this machine, read as a plan reads them.

The index knows such a file by its header alone. Where that tells no order of layers, they are counted in any order,
which says too little; a target whose tensors have names tells the order.
"""

from __future__ import annotations

from pathlib import Path

from transfer.errors import CheckpointError
from transfer.planning.sides import Sides, read_sides
from transfer.structure.records import Architecture
from transfer.weights.checkpoint import open_checkpoint

__all__ = ["are_named", "read_file"]

_SORTED = (".safetensors", ".safetensors.index.json")
"""Files that may be sorted by name; others are not opened for a ranking."""


def are_named(architecture: Architecture) -> bool:
    """Whether tensors have the names that their network gives them; those of the index have numbers."""
    return not all(tensor.name.isdecimal() for tensor in architecture.tensors())


def read_file(path: Path, target: Architecture, most_pairs: int) -> Sides | None:
    """Read the header of a source like the target, if it is sorted by name.

    Parameters
    ----------
    path : Path
    target : Architecture
        In ``dpiat`` form, with named tensors.
    most_pairs : int
        Pairs of a tensor of the file and a layer of the target that may be looked at.

    Returns
    -------
    Sides or None
        None if the file tells the order, or has too many tensors, or cannot be read any more.
    """
    if not path.name.endswith(_SORTED):
        return None
    try:
        checkpoint = open_checkpoint(path)
        if checkpoint.is_ordered or len(checkpoint.header) * target.n_scoring > most_pairs:
            return None
        return read_sides(checkpoint, target)
    except CheckpointError:
        return None
