"""ONNX files: the initializers of a graph. The only module that knows onnx."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfer.weights.contents import Contents, RefusedError
from transfer.weights.inert.arrays import numpy_type
from transfer.weights.inert.values import Unreadable
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
        raise RefusedError("an ONNX file, which onnx reads: pip install 'zoo-index[formats]'") from error
    found: dict[str, LoadedTensor | Unreadable] = {}
    for name, tensor in _initializers(onnx.load(path, load_external_data=False).graph, ""):
        code = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).name
        kind = numpy_type(code)
        shape = tuple(tensor.dims)
        if kind is None:
            if code != "object":  # which is text; the others are packed, as int4
                found[name] = Unreadable(code)
            continue
        if any(n < 0 for n in shape) or (
            tensor.raw_data and len(tensor.raw_data) != math.prod(shape) * ITEM_SIZES[kind]
        ):
            raise ValueError(f"an initializer {name!r} that claims more than the file holds")
        found[name] = LoadedTensor(shape, kind, partial(_load, tensor, kind, path.parent))
    return Contents("ONNX", found)


def _initializers(graph: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield the initializers of a graph and, by the names of their nodes, of the branches within it."""
    for tensor in graph.initializer:
        yield prefix + tensor.name, tensor
    for node in graph.node:
        for attribute in node.attribute:
            within = f"{prefix}{node.name or node.op_type}.{attribute.name}."
            for inner in (attribute.g, *attribute.graphs):
                yield from _initializers(inner, within)
            if node.op_type == "Constant" and attribute.name == "value" and len(attribute.t.dims) > 1:
                yield prefix + (node.output[0] if node.output else node.name), attribute.t


def _load(tensor: Any, kind: str, folder: Path) -> torch.Tensor:
    import numpy as np
    import torch
    from onnx import numpy_helper

    array = np.array(numpy_helper.to_array(tensor, str(folder)))
    if kind.startswith(("bfloat", "float8")):  # which numpy does not have; onnx gives them as types of ml_dtypes
        return torch.from_numpy(array.view(f"u{array.itemsize}")).view(getattr(torch, kind))
    return torch.from_numpy(array)
