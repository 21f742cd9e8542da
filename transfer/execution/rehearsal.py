"""Look at everything that a transfer would write, before it writes anything.

`Tensor.copy_` alone would turn large values into infinity, NaN into integers and drop imaginary parts. Nearly all
weights are fine, so each part is only summed up, where it lies: a sum is finite only if all values are. The sums
on a device are fetched at once, and what has a suspicious one is examined value by value.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from transfer.errors import TransferError
from transfer.execution.moves import Move, moves_of

if TYPE_CHECKING:
    from transfer.planning.planned import PlannedTensor
    from transfer.weights.reading import Reader

__all__ = ["rehearse"]


def rehearse(
    rows: Sequence[PlannedTensor],
    read: Reader,
    state: Mapping[str, torch.Tensor],
    *,
    allow_nonfinite: bool,
    told: Callable[[PlannedTensor], object] = lambda row: None,
) -> None:
    """Refuse a transfer that would damage values.

    Parameters
    ----------
    rows : sequence of PlannedTensor
    read : Reader
    state : mapping of str to Tensor
        The target.
    allow_nonfinite : bool
        Let NaN and infinity of the source pass.
    told : callable
        Called with each row that was looked at.

    Raises
    ------
    TransferError
        If a source tensor holds NaN or infinity, or values that the target's element type cannot hold, or is of
        another kind or shape.
    """
    outlooks: dict[tuple[torch.device, torch.dtype], list[torch.Tensor]] = defaultdict(list)
    owners: dict[tuple[torch.device, torch.dtype], list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        for move in moves_of(row, read, state[row.name]):
            _check_kind(move)
            outlook = _outlook(move, allow_nonfinite)
            if outlook is not None:
                place = outlook.device, outlook.dtype
                outlooks[place].append(outlook)
                owners[place] += [i] * outlook.numel()
        told(row)
    suspects = set()
    for place, numbers in outlooks.items():
        finite = torch.isfinite(torch.cat(numbers)).tolist()
        suspects |= {i for i, is_finite in zip(owners[place], finite, strict=True) if not is_finite}
    for i in sorted(suspects):
        for move in moves_of(rows[i], read, state[rows[i].name]):
            _examine(move, allow_nonfinite)


def _outlook(move: Move, allow_nonfinite: bool) -> torch.Tensor | None:
    """Return a few numbers that are finite only if all that would be written is, None if nothing can go wrong.

    They need no copy of the part. A sum may overflow itself, which is a false alarm; casting is monotonic, so the
    extremes tell whether anything would overflow.
    """
    part, dtype = move.part, move.place.dtype
    if part.numel() == 0 or not (part.is_floating_point() or part.is_complex()):
        return None
    if _is_narrower(dtype, part.dtype):
        part = torch.view_as_real(part.resolve_conj()) if part.is_complex() else _wide(part)
        return _cast(torch.stack([part.amin(), part.amax()]), dtype.to_real())
    return None if allow_nonfinite else _wide(part).sum()[None]


def _wide(part: torch.Tensor) -> torch.Tensor:
    """Torch can neither add up nor examine numbers of 8 bits."""
    return part.float() if part.dtype.itemsize == 1 else part


def _cast(part: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Cast, with infinity for what is beyond the range."""
    if dtype.itemsize > 1:
        return part.to(dtype)
    part = _wide(part)  # 8 bits have no infinity, or are filled with the largest number silently
    return part.masked_fill(part.abs() > torch.finfo(dtype).max, torch.inf)


def _is_narrower(dtype: torch.dtype, other: torch.dtype) -> bool:
    return dtype != other and torch.finfo(dtype).max < torch.finfo(other).max


def _check_kind(move: Move) -> None:
    part, place = move.part, move.place
    if part.layout is not torch.strided:
        raise TransferError(
            f"expected a dense tensor, source tensor {move.source!r} is {part.layout}; convert it: to_dense()"
        )
    if part.dtype == place.dtype:
        return
    if part.is_complex() and not place.is_complex():
        raise TransferError(
            f"expected real weights, got complex source tensor {move.source!r} for {move.target!r}; "
            "take a complex target, or leave the imaginary part out of the source"
        )
    found, expected = _kind(part.dtype), _kind(place.dtype)
    if found != expected and (found, expected) != ("real", "complex"):
        raise TransferError(
            f"expected {expected} values ({place.dtype}) for {move.target!r}, got {found} ones ({part.dtype}) in "
            f"source tensor {move.source!r}; convert the source first"
        )
    if found == "integer" and not torch.equal(part.to(place.dtype).to(part.dtype), part):
        raise _out_of_range(move)


def _kind(dtype: torch.dtype) -> str:
    if dtype.is_complex:
        return "complex"
    if dtype.is_floating_point:
        return "real"
    return "truth" if dtype == torch.bool else "integer"


def _examine(move: Move, allow_nonfinite: bool) -> None:
    """Look at every value."""
    finite = torch.isfinite(_wide(move.part))
    if not (allow_nonfinite or finite.all()):
        raise TransferError(
            f"expected finite weights, got NaN or infinity in source tensor {move.source!r}; "
            "take another checkpoint, or allow it with allow_nonfinite (--allow-nonfinite)"
        )
    if bool((finite & ~torch.isfinite(_cast(move.part, move.place.dtype))).any()):
        raise _out_of_range(move)


def _out_of_range(move: Move) -> TransferError:
    return TransferError(
        f"expected values within the range of {move.place.dtype}, got larger ones in source tensor "
        f"{move.source!r}; use a target with a wider dtype"
    )
