"""HDF5 files, as Keras saves networks: ``.h5``, and within ``.keras``. The only module that knows h5py."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transfer.weights.contents import Contents, RefusedError
from transfer.weights.inert.arrays import numpy_type
from transfer.weights.layouts import as_torch_has_them
from transfer.weights.mapped import Window, map_file
from transfer.weights.names import natural_order
from transfer.weights.stored import LoadedTensor, Stored

if TYPE_CHECKING:
    import torch

__all__ = ["KERAS_MEMBER", "read_data", "read_file"]

_MOST_TIMES = 64
"""Bytes of an array for each byte in the file, as for compressed archives of arrays."""

_SMALL = 4096
"""Bytes: arrays of zeros take none in the file."""

KERAS_MEMBER = "model.weights.h5"
"""Where the weights lie in the zip archive ``.keras``."""


def read_file(path: Path) -> Contents:
    """Read names, shapes and types of a file.

    Parameters
    ----------
    path : Path

    Raises
    ------
    RefusedError
        If h5py is missing.
    Exception
        Of nearly any class, if it is damaged.
    """
    return read_data(map_file(path))


def read_data(data: memoryview) -> Contents:
    """As `read_file`, of a file in memory."""
    try:
        import h5py
    except ImportError as error:
        raise RefusedError("an HDF5 file, which h5py reads: pip install 'zoo-index[formats]'") from error
    file = h5py.File(Window(data), "r")
    found: dict[str, Stored] = {}

    def visit(name: str, held: Any) -> None:
        if not isinstance(held, h5py.Dataset) or held.external is not None or held.is_virtual:
            return
        kind = numpy_type(held.dtype.str[1:])
        if kind is not None and name.partition("/")[0] not in ("optimizer_weights", "optimizer"):
            if held.nbytes > _MOST_TIMES * held.id.get_storage_size() + _SMALL:
                raise RefusedError(
                    f"an array {name[:100]!r} that unpacks to more than {_MOST_TIMES} times its bytes"
                )
            found[name.partition(":")[0].replace("/", ".")] = LoadedTensor(
                tuple(held.shape), kind, partial(_load, held)
            )

    file.visititems(visit)
    order = _layers(file)
    names = sorted(natural_order(found), key=lambda name: order.get(_layer(name), len(order)))
    return Contents("HDF5", as_torch_has_them({name: found[name] for name in names}), is_ordered=bool(order))


def _layers(file: Any) -> dict[str, int]:
    """Return the order of layers, where Keras says it (``layer_names``); names that do not occur do no harm."""
    named = file.get("model_weights", file).attrs.get("layer_names", ())
    return {name.decode() if isinstance(name, bytes) else str(name): i for i, name in enumerate(named)}


def _layer(name: str) -> str:
    return name.removeprefix("model_weights.").partition(".")[0]


def _load(held: Any) -> torch.Tensor:
    import torch

    return torch.from_numpy(held[...].astype(held.dtype.newbyteorder("="), copy=False))
