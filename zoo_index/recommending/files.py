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


def are_named(architecture: Architecture) -> bool:
    """Whether tensors have the names that their network gives them; those of the index have numbers."""
    return not all(tensor.name.isdecimal() for tensor in architecture.tensors())


def read_file(path: Path, target: Architecture) -> Sides | None:
    """Read the header of a source like the target; None if it cannot be read any more.

    Parameters
    ----------
    path : Path
    target : Architecture
        In ``dpiat`` form, with named tensors.
    """
    try:
        return read_sides(open_checkpoint(path), target)
    except CheckpointError:
        return None
