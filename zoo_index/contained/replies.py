"""What the process of a target replies, looked at before it is believed: its code may have made it say anything."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from transfer.errors import CheckpointError
from zoo_index.contained.child import Child

if TYPE_CHECKING:
    from zoo_index.recommending.resolve import Resolved

__all__ = ["check_outline", "checked", "checked_plan", "described"]

T = TypeVar("T")


def checked(child: Child, read: Callable[[Any], T], values: Any) -> T:
    """Read what the process replied; refuse it where it is not what was asked for."""
    try:
        return read(values)
    except (ValueError, CheckpointError) as error:
        raise child.refuse(error) from error


def described(child: Child) -> Resolved:
    """Return the network that the next reply describes."""
    return checked(child, _resolved, child.answer())


def _resolved(values: Any) -> Resolved:
    """Read what the process tells of a network; a ValueError for anything else."""
    from transfer.structure.notation import from_values
    from zoo_index.recommending.resolve import Resolved

    match values:
        case {"name": str(name), "n_params": int(n_params), "forms": {"paper": paper, "dpiat": dpiat}}:
            forms = {form.form: form for form in map(from_values, (paper, dpiat))}
            if set(forms) == {"paper", "dpiat"}:
                return Resolved(name, n_params, forms)
    raise ValueError("expected a network")


def checked_plan(child: Child, answer: Any, drawn: bool) -> dict[str, Any]:
    """Return a plan, with what a picture is drawn from if it is to be `drawn`."""
    from zoo_index.reports.shown import ShownPlan

    checked(child, ShownPlan.from_json, answer)
    check_outline(child, answer, drawn)
    values: dict[str, Any] = answer
    return values


def check_outline(child: Child, answer: Mapping[str, Any], drawn: bool) -> None:
    """Look at what a picture is drawn from, if it is to be `drawn`."""
    from zoo_index.reports.outlines import ShownOutline

    if drawn:
        checked(child, ShownOutline.from_json, answer.get("outline"))
