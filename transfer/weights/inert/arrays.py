"""numpy's arrays as they stand in a pickle: their bytes stay where they are."""

from __future__ import annotations

import re
from typing import Any

from transfer.weights.inert.values import Global
from transfer.weights.stored import ITEM_SIZES, Storage, StoredTensor, contiguous

__all__ = ["Array", "DType", "numpy_type"]

_KINDS = {"f": "float", "i": "int", "u": "uint", "c": "complex"}


def numpy_type(code: str) -> str | None:
    """Name an element type as torch does, told as numpy does; None of what is no plain number.

    Parameters
    ----------
    code : str
        As ``f4`` or ``float32``.
    """
    short = re.fullmatch(r"([fiuc])(\d{1,2})", code)
    name = f"{_KINDS[short[1]]}{8 * int(short[2])}" if short else {"b1": "bool", "?": "bool"}.get(code, code)
    return name if name in ITEM_SIZES else None


class DType:
    """An element type.

    Parameters
    ----------
    code : object
        As ``f4``, or a type by name.
    """

    def __init__(self, code: object = None, *_: object) -> None:
        code = code.name.rpartition(".")[2] if isinstance(code, Global) else code
        self.name = numpy_type(code) if isinstance(code, str) else None
        self.is_swapped = False

    def build(self, state: Any) -> None:
        """Take the order of bytes, and whether there are fields."""
        _, order, subdtype, names, *_ = state
        self.is_swapped = order == ">"
        if subdtype is not None or names is not None:
            self.name = None


class Array:
    """An array; empty until it gets its state.

    Attributes
    ----------
    stored : StoredTensor or None
        None of what holds no numbers.
    """

    def __init__(self, *_: object) -> None:
        self.stored: StoredTensor | None = None

    def build(self, state: Any) -> None:
        """Take shape, type, order and bytes."""
        *_, shape, kind, is_fortran, data = state
        if isinstance(kind, str):
            kind = DType(kind)
        if isinstance(data, str):  # of Python 2
            data = data.encode("latin1")
        if not isinstance(kind, DType) or kind.name is None or not isinstance(data, bytes | bytearray | memoryview):
            return
        shape = tuple(shape) if isinstance(shape, tuple | list) else (shape,)
        if not all(type(n) is int and 0 <= n < 2**62 for n in shape):
            raise ValueError("an array of an impossible shape")
        stride = contiguous(shape[::-1])[::-1] if is_fortran else contiguous(shape)
        storage = Storage(memoryview(data), len(data), kind.name)
        self.stored = StoredTensor(storage, kind.name, shape, stride, is_swapped=kind.is_swapped)

    @classmethod
    def of_bytes(cls, data: object, kind: object, shape: object, order: object = "C", *_: object) -> Array:
        """Make one as numpy makes it of a buffer."""
        made = cls()
        made.build((shape, kind, order == "F", data))
        return made

    @classmethod
    def of_jax(cls, _make: object, _arguments: object, state: object, *_: object) -> Array:
        """Make one of the state of the array that jax copies its own to."""
        made = cls()
        made.build(state)
        return made
