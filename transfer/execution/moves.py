"""From a row of a plan to pairs of tensors: a part of the source, and the place in the target it goes to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from transfer.errors import TransferError
from transfer.planning.planned import PlannedTensor
from transfer.regions import Constant, Region

if TYPE_CHECKING:
    import torch

    from transfer.weights.reading import Reader

__all__ = ["Move", "moves_of", "set_constants"]


@dataclass(frozen=True, slots=True)
class Move:
    """Values and where they go.

    Parameters
    ----------
    source, target : str
        Names of the tensors.
    part : Tensor
        Values of the source, transformed and scaled as planned, in the source's element type and on its device.
    place : Tensor
        A view of the target of the same shape.
    """

    source: str
    target: str
    part: torch.Tensor
    place: torch.Tensor


def moves_of(row: PlannedTensor, read: Reader, tensor: torch.Tensor) -> Iterator[Move]:
    """Read what a row of a plan names, one region after the other.

    Only the box that a region names is read, unless a folding or a transform needs the whole tensor.

    Parameters
    ----------
    row : PlannedTensor
    read : Reader
    tensor : Tensor
        The target.

    Raises
    ------
    TransferError
        If a tensor does not have the shape that was planned with.
    """
    if row.regions and tuple(tensor.shape) != row.shape:
        raise _other_shape("target", row.name, row.shape, tuple(tensor.shape))
    transformed: dict[str, torch.Tensor] = {}
    for region in row.regions:
        name = region.tensor or row.source or ""
        if row.transform is None and row.folding is None:
            part = _read_part(row, name, region, read)
        else:
            if name not in transformed:
                transformed[name] = _transformed(row, _read_whole(row, name, read), read)
            value = transformed[name]
            part = _shaped(value[region.source.index[: value.dim()]], region, name)
        place = tensor.data if region.size == row.shape else tensor.data[region.target.index]
        yield Move(name, row.name, part if region.scale == 1 else part * region.scale, place)


def set_constants(row: PlannedTensor, tensor: torch.Tensor) -> None:
    """Set the constants of a row, in their order."""
    for constant in row.constants:
        _set_constant(tensor.data[constant.box.index], constant)


def _set_constant(box: torch.Tensor, constant: Constant) -> None:
    if not constant.diagonal:
        box.fill_(constant.value)
        return
    for n in reversed(box.shape[2:]):
        box = box[..., n // 2]
    box.fill_diagonal_(constant.value)


def _transformed(row: PlannedTensor, value: torch.Tensor, read: Reader) -> torch.Tensor:
    if row.folding is not None:
        value = row.folding(value, read)
    return value if row.transform is None else row.transform(value)


def _read_whole(row: PlannedTensor, name: str, read: Reader) -> torch.Tensor:
    value = read(name)
    if name == row.source and row.source_shape is not None and tuple(value.shape) != row.source_shape:
        raise _other_shape("source", name, row.source_shape, tuple(value.shape))
    return value


def _read_part(row: PlannedTensor, name: str, region: Region, read: Reader) -> torch.Tensor:
    if name != row.source or row.source_shape is None:
        return _shaped(read(name, region.source.index), region, name)
    if region.size == row.source_shape:
        return _read_whole(row, name, read)
    return _shaped(read(name, region.source.index[: len(row.source_shape)]), region, name)


def _shaped(part: torch.Tensor, region: Region, name: str) -> torch.Tensor:
    """Bring a part into the target's rank: a linear layer feeds a convolution of one position, and the reverse."""
    shape = tuple(part.shape)
    if shape == region.size:
        return part
    if _without_ones(shape) != _without_ones(region.size):
        raise _other_shape("part of source", name, region.size, shape)
    return part.reshape(region.size)


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Drop trailing dimensions of size 1."""
    n = len(shape)
    while n and shape[n - 1] == 1:
        n -= 1
    return shape[:n]


def _other_shape(what: str, name: str, expected: tuple[int, ...], found: tuple[int, ...]) -> TransferError:
    return TransferError(
        f"expected {what} tensor {name!r} of shape {expected} as planned, got {found}; "
        "make the plan again from the weights that are to be transferred"
    )
