"""How amounts, shapes and places are written."""

from __future__ import annotations

from collections.abc import Sequence

from zoo_index.foundation.counting import counted
from zoo_index.recommending.answers import STRUCTURES

__all__ = ["NUMBERS", "count", "made_of", "shape_of", "size_of", "where"]

NUMBERS = ("#", "similarity", "paper", "coverage", "params", "tensors", "elements", "written")
"""Columns that are aligned to the right."""


def count(n: int) -> str:
    """Write a number in thousands, millions or billions."""
    for unit, size in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return str(n)


def made_of(n_blocks: int, n_single: int) -> str:
    """Say what the layers of a network make: blocks, and how many layers are in none."""
    if not n_blocks:
        return "no blocks"
    named = [(n_blocks, "block"), (n_single, "single layer")]
    return " and ".join(counted(n, word) for n, word in named if n)


def shape_of(shape: Sequence[int] | None) -> str:
    """Write the shape of a tensor."""
    return "x".join(map(str, shape)) if shape else "scalar"


def size_of(shape: Sequence[int]) -> int:
    """Count the elements of a tensor."""
    size = 1
    for n in shape:
        size *= n
    return size


def where(is_here: bool, catalogue: str) -> str:
    """Say where weights are; those of a local file that is not here are nowhere else, structures have none."""
    if catalogue in STRUCTURES:
        return "none"
    return "here" if is_here else "gone" if catalogue in ("local", "folder") else "hub"
