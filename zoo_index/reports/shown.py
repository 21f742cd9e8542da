"""Plans and reports as people are shown them, made of their JSON values, wherever these come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite, prod
from typing import Any, get_args

from transfer.planning.planned import STATUSES
from zoo_index.foundation.plain_text import plain

__all__ = ["ShownFunction", "ShownPlan", "ShownReport", "ShownSupply", "ShownTensor"]

_MOST, _MOST_DIMS = 2**63, 64
"""What torch has: the largest number of elements, and of dimensions."""

_VERDICTS = ("equal", "near", "other", "unknown")


@dataclass(frozen=True)
class ShownTensor:
    """What is shown of a `transfer.planning.planned.PlannedTensor`; `fed`: elements by source tensor."""

    name: str
    shape: tuple[int, ...]
    status: str
    source: str | None
    source_shape: tuple[int, ...] | None
    operator: str
    reason: str
    supplier: str
    tied_to: str
    fed: tuple[tuple[str, int], ...]

    @property
    def n_written(self) -> int:
        """Number of elements that the source supplies."""
        return sum(n for _, n in self.fed)

    @classmethod
    def from_json(cls, values: Any) -> ShownTensor:
        """Read a row (see `ShownPlan.from_json`)."""
        source_shape = _field(values, "source_shape", list | tuple | None)
        source = _text(values, "source") if _field(values, "source", str | None) is not None else None
        fed: dict[str, int] = {}
        for region in _field(values, "regions", list | tuple):
            n = prod(_sizes(_field(region, "size", list | tuple)))
            name = _text(region, "tensor") or source or ""
            fed[name] = fed.get(name, 0) + n
        return cls(
            name=_text(values, "name"),
            shape=_sizes(_field(values, "shape", list | tuple)),
            status=_one_of(STATUSES, values, "status"),
            source=source,
            source_shape=None if source_shape is None else _sizes(source_shape),
            operator=_text(values, "operator"),
            reason=_text(values, "reason"),
            supplier=_text(values, "supplier"),
            tied_to=_text(values, "tied_to"),
            fed=tuple(fed.items()),
        )


@dataclass(frozen=True)
class ShownSupply:
    """What is shown of a `transfer.planning.planned.Supply`."""

    name: str
    similarity: float
    coverage: float

    @classmethod
    def from_json(cls, values: Any) -> ShownSupply:
        """Read what one of several sources supplies (see `ShownPlan.from_json`)."""
        return cls(_text(values, "name"), _finite(values, "similarity"), _finite(values, "coverage"))


@dataclass(frozen=True)
class ShownPlan:
    """What is shown of a `transfer.TransferPlan`."""

    method: str
    similarity: float
    coverage: float
    tensors: tuple[ShownTensor, ...]
    note: str
    supplies: tuple[ShownSupply, ...]

    @classmethod
    def from_json(cls, values: Any) -> ShownPlan:
        """Read JSON values, which may come from anywhere.

        Raises
        ------
        ValueError
            If they are not those of a plan.
        """
        return cls(
            method=_one_of(("paper", "dpiat"), values, "method"),
            similarity=_finite(values, "similarity"),
            coverage=_finite(values, "coverage"),
            tensors=tuple(map(ShownTensor.from_json, _field(values, "tensors", list | tuple))),
            note=_text(values, "note"),
            supplies=tuple(map(ShownSupply.from_json, _field(values, "supplies", list | tuple))),
        )


@dataclass(frozen=True)
class ShownFunction:
    """What is shown of a `transfer.execution.proof.Function`."""

    verdict: str
    difference: float | None
    correlation: float | None
    reason: str

    @classmethod
    def from_json(cls, values: Any) -> ShownFunction:
        """Read what is known of a function (see `ShownPlan.from_json`)."""
        return cls(
            verdict=_one_of(_VERDICTS, values, "verdict"),
            difference=_number(values, "difference", float | int | None),
            correlation=_number(values, "correlation", float | int | None),
            reason=_text(values, "reason"),
        )


@dataclass(frozen=True)
class ShownReport(ShownPlan):
    """What is shown of a `transfer.TransferReport`."""

    source: str
    target: str
    device: str
    seconds: float
    output: str | None
    function: ShownFunction | None

    @classmethod
    def from_json(cls, values: Any) -> ShownReport:
        """Read a report (see `ShownPlan.from_json`)."""
        function = _field(values, "function", dict | None)
        return cls(
            **vars(ShownPlan.from_json(values)),
            source=_text(values, "source"),
            target=_text(values, "target"),
            device=_text(values, "device"),
            seconds=_finite(values, "seconds"),
            output=_text(values, "output") if _field(values, "output", str | None) is not None else None,
            function=None if function is None else ShownFunction.from_json(function),
        )


def _field(values: Any, name: str, kind: Any) -> Any:
    found = values.get(name, _field) if isinstance(values, Mapping) else _field
    if not isinstance(found, kind) or (isinstance(found, bool) and bool not in get_args(kind)):
        raise ValueError(f"expected {name!r} of a plan or report")
    return found


def _text(values: Any, name: str) -> str:
    """Text for a line of a terminal."""
    return plain(_field(values, name, str))


def _one_of(names: tuple[str, ...], values: Any, name: str) -> str:
    found: str = _field(values, name, str)
    if found not in names:
        raise ValueError(f"expected {name!r} to be one of {', '.join(names)}")
    return found


def _sizes(values: Any) -> tuple[int, ...]:
    """Sizes of a tensor; of many long numbers even the product would take for ever."""
    if len(values) > _MOST_DIMS or any(type(n) is not int or not 0 <= n <= _MOST for n in values):
        raise ValueError("expected sizes")
    return tuple(values)


def _number(values: Any, name: str, kind: Any = float | int) -> Any:
    """Read a number that can be written as a float is."""
    found = _field(values, name, kind)
    if type(found) is int and not -_MOST <= found <= _MOST:
        raise ValueError(f"expected {name!r} to be a number that can be shown")
    return found


def _finite(values: Any, name: str) -> float:
    found: float = _number(values, name)
    if not isfinite(found):
        raise ValueError(f"expected {name!r} to be finite")
    return found
