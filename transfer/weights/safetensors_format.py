"""safetensors files: names and shapes, lazy views, writing. The only module that knows the library.

The library checks a header strictly (sizes, overlaps, holes, trailing bytes), so nothing of that is repeated here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from transfer.errors import CheckpointError, OutputError
from transfer.structure.records import Signature
from transfer.weights.files import cannot_write, replacing
from transfer.weights.inspection import check_count, damaged

if TYPE_CHECKING:
    import torch

__all__ = ["ORDER_KEY", "map_tensors", "natural_order", "read_header", "write_tensors"]

ORDER_KEY = "zoo.order"
"""Metadata entry with the tensor names in order of registration; safetensors files are sorted otherwise."""

_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
    "C64": "complex64", "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2",
}  # fmt: skip


def read_header(path: Path) -> tuple[dict[str, Signature], bool]:
    """Read names, shapes and element types, and whether they come in the order of registration.

    Raises
    ------
    CheckpointError
        If the file is damaged or holds no tensor.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            names = set(file.keys())
            check_count(len(names), path)
            order = _stored_order(file.metadata())
            is_ordered = order is not None and set(order) == names
            if order is None or not is_ordered:
                order = natural_order(names)
            header = {}
            for name in order:
                part = file.get_slice(name)
                dtype = part.get_dtype()
                header[name] = Signature(tuple(part.get_shape()), _DTYPES.get(dtype, dtype.lower()))
    except (SafetensorError, OSError) as error:
        raise damaged(path, error) from error
    if not header:
        raise CheckpointError(f"expected tensors in '{path}', found none")
    return header, is_ordered


def _stored_order(metadata: Mapping[str, str] | None) -> list[str] | None:
    try:
        order = json.loads((metadata or {}).get(ORDER_KEY, "null"))
    except (ValueError, RecursionError):
        return None
    return order if isinstance(order, list) and all(isinstance(name, str) for name in order) else None


def natural_order(names: Iterable[str]) -> list[str]:
    """Sort names so that block 9 comes before block 10."""
    return sorted(names, key=_natural)


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key; int() would refuse a number of 5000 digits."""
    parts = re.split(r"(\d+)", name)
    parts[1::2] = [number.lstrip("0") for number in parts[1::2]]
    return [*((len(part) * (i % 2), part) for i, part in enumerate(parts)), (0, name)]


@contextmanager
def map_tensors(path: Path, header: Mapping[str, Signature]) -> Iterator[Callable[[str], torch.Tensor]]:
    """Map a file into memory; tensors are views, of which only the pages that are used are read.

    Parameters
    ----------
    path : Path
    header : mapping of str to Signature
        As `read_header` returned it.

    Yields
    ------
    callable
        Returns the tensor of a name; raises KeyError for an unknown one.

    Raises
    ------
    CheckpointError
        If the file cannot be read any more, or is another one now.
    """
    from safetensors import SafetensorError, safe_open

    views: dict[str, torch.Tensor] = {}  # a transfer asks for each one twice

    def lookup(name: str) -> torch.Tensor:
        if name not in views:
            shape = header[name].shape
            try:
                view = file.get_tensor(name)
            except (SafetensorError, OSError) as error:
                raise damaged(path, error) from error
            if tuple(view.shape) != shape:
                raise CheckpointError(
                    f"expected '{path}' as it was when it was opened, tensor {name!r} has shape "
                    f"{tuple(view.shape)} instead of {shape} now; open it again"
                )
            views[name] = view
        return views[name]

    try:
        opened = safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise damaged(path, error) from error
    with opened as file:
        try:
            yield lookup
        finally:
            views.clear()  # the map lives as long as the last view


def write_tensors(state: Mapping[str, torch.Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    """Write a file; one that stands there is replaced whole or not at all.

    Parameters
    ----------
    state : mapping of str to Tensor
        On the CPU, contiguous, none sharing memory with another.
    path : Path
    metadata : mapping of str to str

    Raises
    ------
    OutputError
        If it cannot be written, or safetensors has no such element type or name.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    text = {"format": "pt", ORDER_KEY: json.dumps(list(state)), **metadata}
    try:
        with replacing(path) as temporary:
            save_file(dict(state), temporary, metadata=text)
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
