"""Which formats there are, and which one a file is of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from transfer.errors import CheckpointError
from transfer.weights.contents import Contents, RefusedError
from transfer.weights.formats import (
    distributed,
    hdf5,
    onnx_graph,
    pickles,
    safetensors_file,
    sharded,
    zipped,
)
from transfer.weights.indexes import INDEX
from transfer.weights.inspection import damaged, first_bytes, starts_like_weights

__all__ = ["FORMATS", "Format", "read_contents"]


@dataclass(frozen=True, slots=True)
class Format:
    """A kind of file.

    Parameters
    ----------
    name : str
    recognizes : callable
        Whether a file is of this kind, told its path and its first bytes.
    read : callable
        Reads what it holds. May raise any exception of a damaged file, and `RefusedError` with the reason.
    """

    name: str
    recognizes: Callable[[Path, bytes], bool]
    read: Callable[[Path], Contents]


FORMATS = (
    Format("index of shards", lambda path, _: path.name.endswith(INDEX), sharded.read_index_file),
    Format("torch.distributed.checkpoint", lambda path, _: path.name == ".metadata", distributed.read_folder),
    Format(
        "safetensors",
        lambda path, start: start[8:] == b"{" or (path.suffix == ".safetensors" and not starts_like_weights(start)),
        safetensors_file.read_file,
    ),
    Format("zip (torch, TorchScript, numpy, Keras)", lambda _, start: start[:2] == b"PK", zipped.read_file),
    Format("HDF5 (Keras)", lambda _, start: start[:8] == b"\x89HDF\r\n\x1a\n", hdf5.read_file),
    Format("ONNX", lambda path, _: path.suffix == ".onnx", onnx_graph.read_file),
    Format("pickle (torch, numpy)", pickles.starts_so, pickles.read_file),
)
"""In the order in which they are tried."""


def read_contents(path: Path) -> Contents:
    """Read what a file holds.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Contents

    Raises
    ------
    CheckpointError
        If there is no such file, or it is of no known format, damaged, or not what can be read.
    """
    start = first_bytes(path)
    found = next((kind for kind in FORMATS if kind.recognizes(path, start)), None)
    if found is None:
        raise CheckpointError(
            f"expected a weights file (safetensors, torch, pickle, numpy, Keras, ONNX), '{path}' is none of these, "
            f"it starts with {start!r}; download it again, or check what it is"
        )
    try:
        return found.read(path)
    except CheckpointError:
        raise
    except RefusedError as error:
        raise CheckpointError(
            f"expected weights that can be read in '{path}', found {error}; download it again, or save it anew"
        ) from error
    except Exception as error:  # readers of formats raise nearly anything on a damaged file
        raise damaged(path, error) from error
