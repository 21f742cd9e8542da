"""How a plan gets at source tensors: by name, whole or in part."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from transfer.errors import TransferError

if TYPE_CHECKING:
    import torch

__all__ = ["Index", "Reader", "StateReader", "take"]

Index = tuple[slice, ...]
"""A box of a tensor: one slice per dimension, with a start and a stop."""


class Reader(Protocol):
    """Hands out source tensors.

    What it returns is only read, may be a view of a mapped file or of a living network, and holds as long as the
    source is open. Asked twice for the same part it returns the same values: a transfer looks at everything before
    it writes anything, and then reads it again.
    """

    def __call__(self, name: str, index: Index | None = None) -> torch.Tensor:
        """Return a tensor, or a part of it.

        Parameters
        ----------
        name : str
        index : tuple of slice, optional
            By default the whole tensor. Slices of trailing dimensions of size 1 may be missing, or be too many.
        """
        ...


class StateReader:
    """Reads tensors that are at hand: those of a state dict, or views of a mapped file.

    Parts are views, so that of a mapped file only the pages below them are ever read.

    Parameters
    ----------
    lookup : callable
        Returns the tensor of a name; raises KeyError for an unknown one.
    """

    def __init__(self, lookup: Callable[[str], torch.Tensor]) -> None:
        self._lookup = lookup

    def __call__(self, name: str, index: Index | None = None) -> torch.Tensor:
        """Return a tensor, or a view of a part of it."""
        try:
            value = self._lookup(name)
        except KeyError:
            raise TransferError(
                f"expected source tensor {name!r} as planned, the weights do not hold it; "
                "make the plan again from the weights that are to be transferred"
            ) from None
        return value if index is None else take(value, index)


def take(value: torch.Tensor, index: Index) -> torch.Tensor:
    """Return a view of a part; slices beyond the rank of the tensor are passed over.

    Parameters
    ----------
    value : Tensor
    index : tuple of slice
    """
    return value[index[: value.dim()]]
