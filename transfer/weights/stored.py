"""Tensors where they lie in a file: their type, shape and bytes. Nothing is read before it is asked for."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transfer.structure.records import Signature

if TYPE_CHECKING:
    import torch

__all__ = ["ITEM_SIZES", "LoadedTensor", "Storage", "Stored", "StoredTensor", "contiguous"]

ITEM_SIZES = {
    "float64": 8, "float32": 4, "float16": 2, "bfloat16": 2, "complex128": 16, "complex64": 8, "complex32": 4,
    "int64": 8, "int32": 4, "int16": 2, "int8": 1, "uint64": 8, "uint32": 4, "uint16": 2, "uint8": 1, "bool": 1,
    "float8_e4m3fn": 1, "float8_e5m2": 1, "float8_e4m3fnuz": 1, "float8_e5m2fnuz": 1, "float8_e8m0fnu": 1,
}  # fmt: skip
"""Bytes of an element, by the names that torch gives its types."""


_MOST_DIMENSIONS = 64
"""What numpy and torch can do."""


class Stored(ABC):
    """A tensor in a file, not read yet."""

    __slots__ = ()

    @property
    @abstractmethod
    def signature(self) -> Signature:
        """Shape and element type."""

    @abstractmethod
    def load(self) -> torch.Tensor:
        """Read it; a view of the mapped file where that can be."""


@dataclass(slots=True, eq=False, repr=False)
class Storage:
    """Bytes that tensors are views of.

    Parameters
    ----------
    data : memoryview
        May be given later; at least `n_bytes`.
    n_bytes : int
    dtype : str
        Of its elements, where the storage has a type.
    """

    data: memoryview
    n_bytes: int
    dtype: str


@dataclass(frozen=True, slots=True, eq=False)
class StoredTensor(Stored):
    """A view of a storage.

    Parameters
    ----------
    storage : Storage
    dtype : str
        Of `ITEM_SIZES`.
    shape, stride : tuple of int
    offset : int
        In elements, as the strides are.
    is_swapped : bool
        Whether the bytes of each element are in the order of another machine.
    is_conjugate, is_negative : bool
        Whether the values are the conjugates of those in the file, or have the other sign; torch saves views so.

    Raises
    ------
    ValueError
        If it does not lie within its storage.
    """

    storage: Storage
    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int = 0
    is_swapped: bool = False
    is_conjugate: bool = False
    is_negative: bool = False

    def __post_init__(self) -> None:
        if len(self.shape) > _MOST_DIMENSIONS:
            raise ValueError("a tensor of too many dimensions")
        numbers = (*self.shape, *self.stride, self.offset)
        if not all(type(n) is int and 0 <= n < 2**62 for n in numbers) or len(self.shape) != len(self.stride):
            raise ValueError("a tensor of an impossible shape")
        last = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.stride, strict=True))
        if 0 not in self.shape and (last + 1) * ITEM_SIZES[self.dtype] > self.storage.n_bytes:
            raise ValueError("a tensor that claims more than its storage holds")

    @property
    def signature(self) -> Signature:
        """Shape and element type."""
        return Signature(self.shape, self.dtype)

    def load(self) -> torch.Tensor:
        """Return a view of the file; a copy where its bytes lie as they cannot be used."""
        import torch

        dtype = getattr(torch, self.dtype)
        if 0 in self.shape:
            return torch.empty(self.shape, dtype=dtype)
        size = ITEM_SIZES[self.dtype]
        n = self.storage.n_bytes // size
        data = self.storage.data
        if data.readonly:
            data = memoryview(bytearray(data))
        flat = torch.frombuffer(data, dtype=torch.uint8, count=n * size)
        if self.is_swapped:
            flat = flat.view(n, size).flip(1).reshape(-1)
        elif flat.data_ptr() % size:
            flat = flat.clone()
        values = flat.view(dtype).as_strided(self.shape, self.stride, self.offset)
        if self.is_conjugate:
            values = values.conj().resolve_conj()
        return values.neg() if self.is_negative else values


@dataclass(frozen=True, slots=True, eq=False)
class LoadedTensor(Stored):
    """A tensor that a library reads, or that is put together, when it is asked for.

    Parameters
    ----------
    shape : tuple of int
    dtype : str
        Of `ITEM_SIZES`.
    read : callable
    """

    shape: tuple[int, ...]
    dtype: str
    read: Callable[[], torch.Tensor]

    @property
    def signature(self) -> Signature:
        """Shape and element type."""
        return Signature(self.shape, self.dtype)

    def load(self) -> torch.Tensor:
        """Read it.

        Raises
        ------
        ValueError
            If it is of another shape than was said.
        """
        value = self.read()
        if tuple(value.shape) != self.shape:
            raise ValueError(f"a tensor of shape {tuple(value.shape)} instead of {self.shape}")
        return value


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """Strides of a tensor whose last dimension is the densest."""
    return tuple(math.prod(shape[i + 1 :]) for i in range(len(shape)))
