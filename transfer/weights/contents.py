"""What a file of weights holds, before anything is taken from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Contents", "RefusedError"]


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """Everything that a file holds.

    Parameters
    ----------
    format : str
        For messages, e.g. ``torch``.
    tree : object
        Mappings, lists and stand-ins, with stored tensors somewhere in them.
    is_ordered : bool
        Whether tensors come in the order in which the network registers them.
    n_bytes : int or None
        Of the files together, where there are several.
    """

    format: str
    tree: Any
    is_ordered: bool = True
    n_bytes: int | None = None


class RefusedError(ValueError):
    """A file holds what is not read, for the reason that the message gives."""
