"""What a plan consists of: one row for every tensor of the target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from math import prod
from typing import Any

from transfer.alignment.matching import Alignment
from transfer.equivalence.foldings import Folding
from transfer.regions import Constant, Fill, Region, Transform
from transfer.structure.records import Form, Tensor

__all__ = [
    "STATUSES",
    "PlannedTensor",
    "Supply",
    "TransferPlan",
    "count_statuses",
    "coverage_of",
    "filled",
    "fresh",
]

STATUSES = ("copied", "cropped", "grown", "resampled", "identity", "fresh")


@dataclass(frozen=True, slots=True)
class PlannedTensor:
    """What will happen to one tensor of the target.

    Parameters
    ----------
    name : str
        In the target's state dict.
    shape : tuple of int
    status : {'copied', 'cropped', 'grown', 'resampled', 'identity', 'fresh'}
        ``copied``: equal shapes. ``cropped``: filled from a part of a larger tensor. ``grown``: some of its
        elements are filled from the source, the others keep their initialisation or are set to a constant.
        ``resampled``: filled from the source on another grid, or of other dimensions. ``identity``: set so that it
        changes nothing: an inserted layer or block starts by returning its input, what the source computes without
        adds zero or multiplies by one. ``fresh``: nothing of the source.
    source : str or None
        Name of the source tensor; the first one where there are several.
    source_shape : tuple of int or None
    operator : str
        How the regions were chosen; empty for ``fresh``.
    regions : tuple of Region
        Copied; their target boxes do not overlap.
    constants : tuple of Constant
        Set in this order, before the regions are copied.
    transform : Transform or None
        Applied to the source tensor first; regions and their bounds then refer to its result.
    folding : Folding or None
        How other source tensors enter the source tensor, before all else; its shape stays.
    reason : str
        Why it is fresh, or what was lost.
    tied_to : str
        Another name of the same tensor, under which it is written; mostly empty.
    no_larger_than : str
        Name of the source tensor to whose spread the random values of a fresh classifier are shrunk; mostly empty.
    supplier : str
        Name of the network that the source tensor belongs to, where there are several; else empty.
    """

    name: str
    shape: tuple[int, ...]
    status: str
    source: str | None = None
    source_shape: tuple[int, ...] | None = None
    operator: str = ""
    regions: tuple[Region, ...] = ()
    constants: tuple[Constant, ...] = ()
    transform: Transform | None = None
    folding: Folding | None = None
    reason: str = ""
    tied_to: str = ""
    no_larger_than: str = ""
    supplier: str = ""

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the source tensors that its values are made of, each once."""
        names = [region.tensor or self.source or "" for region in self.regions]
        names += self.folding.names if self.folding and self.regions else ()
        return tuple(dict.fromkeys(name for name in names if name))

    @property
    def n_written(self) -> int:
        """Number of elements that the source supplies."""
        return sum(region.n_elements for region in self.regions)

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Supply:
    """What one of several sources supplies.

    Parameters
    ----------
    name : str
        Of the source.
    similarity : float
        How much of what the sources before it leave fresh it can supply, in [0, 1].
    coverage : float
        Fraction of the target's elements that it supplies, in [0, 1].
    """

    name: str
    similarity: float
    coverage: float


@dataclass(frozen=True)
class TransferPlan:
    """Every tensor of the target, once, in the target's order.

    Parameters
    ----------
    method : {'paper', 'dpiat'}
    similarity : float
        In [0, 1].
    tensors : tuple of PlannedTensor
    alignment : Alignment
    note : str
        What the reader should know of it; mostly empty.
    supplies : tuple of Supply
        What each of several sources supplies; similarity and alignment are then those of the first. Empty for one.
    further : tuple of Alignment
        Those of the sources after the first.
    """

    method: Form
    similarity: float
    tensors: tuple[PlannedTensor, ...]
    alignment: Alignment
    note: str = ""
    supplies: tuple[Supply, ...] = ()
    further: tuple[Alignment, ...] = ()

    @property
    def alignments(self) -> tuple[Alignment, ...]:
        """Of every source with the target."""
        return (self.alignment, *self.further)

    @cached_property
    def coverage(self) -> float:
        """Fraction of the target's elements that the source supplies, in [0, 1]."""
        return coverage_of(self.tensors)

    def read_layers(self) -> set[str]:
        """Paths of the source's layers that are matched, or of which a tensor is read."""
        names = {name for row in self.tensors for name in row.sources}
        layers = self.alignment.source.layers()
        read = {layer.path for layer in layers if any(tensor.name in names for tensor in layer.tensors)}
        return read | {pair.source.path for pair in self.alignment.pairs}

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return {
            "method": self.method,
            "similarity": self.similarity,
            "coverage": self.coverage,
            "note": self.note,
            "counts": count_statuses(self.tensors),
            "supplies": [asdict(supply) for supply in self.supplies],
            "tensors": [tensor.to_json() for tensor in self.tensors],
        }


def coverage_of(tensors: Sequence[PlannedTensor], every: Sequence[PlannedTensor] | None = None) -> float:
    """Return the fraction of all elements that is supplied to some tensors; tied ones count once.

    Parameters
    ----------
    tensors : sequence of PlannedTensor
    every : sequence of PlannedTensor, optional
        All tensors of the target, where those are not all.
    """
    whole = tensors if every is None else every
    n_elements = sum(prod(tensor.shape) for tensor in whole if not tensor.tied_to)
    return sum(tensor.n_written for tensor in tensors) / n_elements if n_elements else 0.0


def count_statuses(tensors: Sequence[PlannedTensor]) -> dict[str, int]:
    """Count tensors by status."""
    return {status: sum(t.status == status for t in tensors) for status in STATUSES}


def fresh(target: Tensor, reason: str) -> PlannedTensor:
    """Give a tensor nothing of the source, for a reason."""
    return PlannedTensor(target.name, target.shape, "fresh", reason=reason)


def filled(source: Tensor, target: Tensor, fill: Fill) -> PlannedTensor:
    """Fill a tensor from another one, and say how much of it."""
    n_copied = fill.n_copied
    n_read = len({region.tensor for region in fill.regions})
    is_fused = fill.operator == "by part" and n_read == len(fill.regions) > 1  # of each one its own part
    reason = ""
    if fill.operator == "copy":
        status = "copied"
    elif fill.operator == "by part" and n_copied == target.size and fill.regions[0].size[1:2] == source.shape[1:2]:
        status, reason = "copied", "the same map, fused in one of the networks and separate in the other"
    elif n_copied == target.size and is_fused:
        status, reason = "cropped", f"cut from {n_read} tensors of the source, which are one here"
    elif n_copied == target.size > source.size:
        status, reason = "grown", "filled with channels of the source, some of them several times"
    elif n_copied == target.size:
        status, reason = "cropped", f"source has {source.size} elements, target takes {n_copied}"
    else:
        status = "grown"
        n_zero = max(fill.n_set - n_copied, 0)
        reason = f"{n_copied} of {target.size} elements from the source, {n_zero} set to zero"
    return PlannedTensor(
        target.name,
        target.shape,
        status,
        source.name,
        source.shape,
        fill.operator,
        fill.regions if n_copied else (),
        fill.constants,
        reason=reason,
    )
