"""Indexes of checkpoints in several files: which file holds which tensor.

An index is ``{"weight_map": {tensor: file}}``, as in ``model.safetensors.index.json`` and
``pytorch_model.bin.index.json``.
"""

from __future__ import annotations

from pathlib import PureWindowsPath

from transfer.weights.strict_json import read_json

__all__ = ["INDEX", "MOST_BYTES", "is_below", "read_index"]

INDEX = ".index.json"
"""How the names of indexes end."""

MOST_BYTES = 100_000_000
"""Of an index, or of the header of one file; what safetensors allows a header."""


def read_index(data: bytes) -> dict[str, str]:
    """Read which file holds which tensor.

    Parameters
    ----------
    data : bytes

    Returns
    -------
    dict of str to str

    Raises
    ------
    ValueError
        If it is no index, or one without tensors.
    """
    try:
        places = read_json(data)["weight_map"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"{type(error).__name__}: {error}"[:200]) from error
    if not isinstance(places, dict) or not all(isinstance(file, str) for file in places.values()):
        raise ValueError("another weight_map")
    if not places:
        raise ValueError("a weight_map without tensors")
    return dict(places)


def is_below(path: str) -> bool:
    """Whether it is the path of a file below its folder, whatever the system.

    Parameters
    ----------
    path : str
    """
    parts = PureWindowsPath(path)  # takes both separators, and drives
    return bool(parts.name) and not parts.anchor and ".." not in parts.parts and not set(path) & set("\\\0")
