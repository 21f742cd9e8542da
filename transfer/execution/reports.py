"""The report: what happened to every tensor of the target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from transfer.planning.planned import PlannedTensor, Supply, count_statuses

if TYPE_CHECKING:
    from transfer.alignment.matching import Alignment
    from transfer.execution.proof import Function

__all__ = ["TransferReport", "noted", "with_reason"]


@dataclass(frozen=True)
class TransferReport:
    """What happened to every tensor of the target.

    Parameters
    ----------
    source, target : str
        What they are called; several sources with `` + `` between them.
    method : {'paper', 'dpiat'}
    similarity, coverage : float
        In [0, 1]; coverage is the fraction of the target's elements that were written.
    tensors : tuple of PlannedTensor
        Every tensor of the target once, in its order.
    device : str
        Where the target lives.
    seconds : float
        Time of planning, reading and writing, not of running the networks in the end.
    output : str or None
        File that the target was saved to.
    note : str
        What the reader should know; mostly empty.
    function : Function or None
        Whether the target computes what the source does; None where that was not asked.
    supplies : tuple of Supply
        What each of several sources supplied; `similarity` is then that of the first. Empty for one.
    alignments : tuple of Alignment
        What was matched, of every source with the target; not part of the JSON values.
    """

    source: str
    target: str
    method: str
    similarity: float
    coverage: float
    tensors: tuple[PlannedTensor, ...]
    device: str
    seconds: float
    output: str | None = None
    note: str = ""
    function: Function | None = None
    supplies: tuple[Supply, ...] = ()
    alignments: tuple[Alignment, ...] = field(default=(), repr=False, compare=False)

    def counts(self) -> dict[str, int]:
        """Count tensors by status."""
        return count_statuses(self.tensors)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        values = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "alignments"}
        return {
            **values,
            "counts": self.counts(),
            "function": asdict(self.function) if self.function is not None else None,
            "supplies": [asdict(supply) for supply in self.supplies],
            "tensors": [tensor.to_json() for tensor in self.tensors],
        }


def noted(row: PlannedTensor, notes: Mapping[str, str]) -> PlannedTensor:
    """Say where values are not those of the source, given what was done to source tensors by name."""
    found = dict.fromkeys(notes[name] for name in row.sources if name in notes)
    return with_reason(row, "; ".join(found)) if found else row


def with_reason(row: PlannedTensor, reason: str) -> PlannedTensor:
    """Add to what a row says of its values."""
    return replace(row, reason=f"{row.reason}; {reason}" if row.reason else reason)
