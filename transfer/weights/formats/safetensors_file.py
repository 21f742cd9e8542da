"""safetensors files: names and shapes, lazy views, writing. The only module that knows the library.

The library checks a header strictly (sizes, overlaps, holes, trailing bytes), so nothing of that is repeated here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfer.errors import OutputError
from transfer.weights.contents import Contents
from transfer.weights.files import cannot_write, replacing
from transfer.weights.inert.values import Unreadable
from transfer.weights.inspection import check_count
from transfer.weights.names import natural_order
from transfer.weights.stored import ITEM_SIZES, LoadedTensor
from transfer.weights.strict_json import read_json

if TYPE_CHECKING:
    import torch

__all__ = ["DTYPES", "ORDER_KEY", "read_file", "read_header", "write_tensors"]

ORDER_KEY = "zoo.order"
"""Metadata entry with the tensor names in order of registration; safetensors files are sorted otherwise."""

DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
    "C64": "complex64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
    "F8_E8M0": "float8_e8m0fnu", "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz",
}  # fmt: skip
"""Element types as torch calls them, by what safetensors calls them."""


def read_file(path: Path) -> Contents:
    """Read names, shapes and element types, in the order of registration where the file tells it.

    Parameters
    ----------
    path : Path

    Returns
    -------
    Contents

    Raises
    ------
    CheckpointError
        If it holds more tensors than any network.
    safetensors.SafetensorError, OSError
        If it is damaged.
    """
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        names = set(file.keys())
        check_count(len(names), path)
        order = _stored_order(file.metadata())
        is_ordered = order is not None and set(order) == names
        opened = _Opened(path)
        found: dict[str, LoadedTensor | Unreadable] = {}
        for name in order if order is not None and is_ordered else natural_order(names):
            part = file.get_slice(name)
            dtype = DTYPES.get(part.get_dtype())
            shape, read = tuple(part.get_shape()), partial(opened.read, name)
            found[name] = LoadedTensor(shape, dtype, read) if dtype else Unreadable("packed")
    return Contents("safetensors", found, is_ordered)


def read_header(data: bytes, size: int) -> Contents:
    """Read names, shapes and element types of a file of which only the header is at hand.

    Parameters
    ----------
    data : bytes
        From the beginning of the file to the end of the header.
    size : int
        Of the whole file, bytes.

    Returns
    -------
    Contents
        Its tensors cannot be read.

    Raises
    ------
    ValueError, KeyError, TypeError
        If it is no header, or does not fit the size.
    """
    length = int.from_bytes(data[:8], "little")
    if 8 + length != len(data):
        raise ValueError("a header of another length")
    header = read_json(data[8:])
    metadata = header.pop("__metadata__", None)
    found: dict[str, LoadedTensor | Unreadable] = {}
    end = 0
    for name, told in header.items():
        dtype, shape, (start, stop) = DTYPES.get(told["dtype"]), told["shape"], told["data_offsets"]
        numbers = (*shape, start, stop)
        if not all(type(n) is int and 0 <= n < 2**62 for n in numbers) or not start <= stop <= size - len(data):
            raise ValueError(f"a tensor {name!r:.100} of an impossible shape or place")
        if dtype and math.prod(shape) * ITEM_SIZES[dtype] != stop - start:
            raise ValueError(f"a tensor {name!r:.100} that claims another size than it has")
        found[name] = LoadedTensor(tuple(shape), dtype, _no_values) if dtype else Unreadable("packed")
        end = max(end, stop)
    if len(data) + end != size:
        raise ValueError("a file of another size than its tensors take")
    order = _stored_order(metadata if isinstance(metadata, dict) else None)
    is_ordered = order is not None and set(order) == set(found)
    names = order if order is not None and is_ordered else natural_order(found)
    return Contents("safetensors", {name: found[name] for name in names}, is_ordered)


def _no_values() -> torch.Tensor:
    raise ValueError("only its header is here")


class _Opened:
    """The file, opened when the first tensor is asked for: tensors are views of the map."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Any = None

    def read(self, name: str) -> torch.Tensor:
        from safetensors import safe_open

        if self._file is None:
            self._file = safe_open(self._path, framework="pt")
        tensor: torch.Tensor = self._file.get_tensor(name)
        return tensor


def _stored_order(metadata: Mapping[str, str] | None) -> list[str] | None:
    try:
        order = json.loads((metadata or {}).get(ORDER_KEY, "null"))
    except (ValueError, RecursionError):
        return None
    return order if isinstance(order, list) and all(isinstance(name, str) for name in order) else None


def write_tensors(
    state: Mapping[str, torch.Tensor], path: Path, metadata: Mapping[str, str], *, is_ordered: bool = True
) -> None:
    """Write a file; one that stands there is replaced whole or not at all.

    Parameters
    ----------
    state : mapping of str to Tensor
        Dense, anywhere; what shares memory is written for every name, so that each of them is found.
    path : Path
    metadata : mapping of str to str
    is_ordered : bool
        Whether they are in the order of registration, so that the file should tell it.

    Raises
    ------
    OutputError
        If it cannot be written, or safetensors has no such element type or name.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    text = {"format": "pt", **({ORDER_KEY: json.dumps(list(state))} if is_ordered else {}), **metadata}
    try:
        with replacing(path) as temporary:
            save_file(_apart(state), temporary, metadata=text)
    except KeyError as error:
        raise OutputError(
            f"expected element types that safetensors can hold to write '{path}', got {error}; "
            "transfer in Python and save the module with torch.save"
        ) from error
    except UnicodeEncodeError as error:
        raise OutputError(
            f"expected names of tensors that are text to write '{path}', got {error.object!r}; rename the module"
        ) from error
    except (OSError, SafetensorError) as error:
        raise cannot_write(path, error) from error


def _apart(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors on the CPU, contiguous, none sharing memory with another, as the library wants them."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in state.items():
        value = tensor.detach().cpu().contiguous()
        storage = value.untyped_storage().data_ptr()
        apart[name] = value.clone() if storage in seen else value
        seen.add(storage)
    return apart
