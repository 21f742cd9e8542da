"""ONNX files: the initializers of a graph. The only module that knows onnx."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfer.weights.contents import Contents, RefusedError
from transfer.weights.inert.arrays import numpy_type
from transfer.weights.stored import ITEM_SIZES, LoadedTensor

if TYPE_CHECKING:
    import torch

__all__ = ["read_file"]


def read_file(path: Path) -> Contents:
    """Read the initializers of a graph; those in files beside it are mapped when they are asked for.

    Parameters
    ----------
    path : Path

    Raises
    ------
    RefusedError
        If onnx is missing.
    Exception
        Of nearly any class, if it is damaged.
    """
    try:
        import onnx
    except ImportError as error:
        raise RefusedError("an ONNX file, which onnx reads: pip install onnx") from error
    graph = onnx.load(path, load_external_data=False).graph
    found = {}
    for tensor in graph.initializer:
        kind = numpy_type(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).name)
        shape = tuple(tensor.dims)
        if kind is None:
            continue
        if any(n < 0 for n in shape) or (
            tensor.raw_data and len(tensor.raw_data) != math.prod(shape) * ITEM_SIZES[kind]
        ):
            raise ValueError(f"an initializer {tensor.name!r} that claims more than the file holds")
        found[tensor.name] = LoadedTensor(shape, kind, partial(_load, tensor, path.parent))
    return Contents("ONNX", found)


def _load(tensor: Any, folder: Path) -> torch.Tensor:
    import numpy as np
    import torch
    from onnx import numpy_helper

    return torch.from_numpy(np.array(numpy_helper.to_array(tensor, str(folder))))
