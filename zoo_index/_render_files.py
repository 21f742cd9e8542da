"""What a weights file holds, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_index._page import Page

if TYPE_CHECKING:
    from transfer.weights.holdings import Holdings

__all__ = ["show_holdings"]

_UNITS = ("B", "kB", "MB", "GB", "TB")


def show_holdings(page: Page, found: Holdings, *, verbose: bool) -> None:
    """Print the state dicts of a file, and the tensors of the one that would be taken."""
    order = "in the order of registration" if found.is_ordered else "sorted by name"
    page.line((found.path, "bold"), f": {found.format}, {_bytes(found.n_bytes)}, tensors {order}")
    rows = [
        [
            (state.key or "(not nested)", "bold" if state.is_taken else ""),
            state.kind,
            f"{state.n_tensors:,}",
            f"{state.n_values:,}",
            _bytes(state.n_bytes),
            ", ".join(f"{n} {kind}" for kind, n in state.types.items()),
            ("taken", "green") if state.is_taken else "",
        ]
        for state in found.states
    ]
    if rows:
        columns = ("state dict", "kind", "tensors", "values", "size", "types", "")
        page.table(columns, rows, ("tensors", "values", "size"))
    if verbose and found.tensors:
        page.table(
            ("tensor", "shape", "type"),
            [[name, "x".join(map(str, shape)) or "-", kind] for name, (shape, kind) in found.tensors.items()],
        )
    if found.refusal:
        page.line(("refused", "red"), f": {found.refusal}")
    elif len([state for state in found.states if state.kind != "optimizer"]) > 1:
        page.line(("take another with --state KEY, averaged weights with --ema", "dim"))


def _bytes(n: float) -> str:
    for unit in _UNITS:
        if n < 1000 or unit == _UNITS[-1]:
            break
        n /= 1000
    return f"{n:.0f} {unit}" if unit == "B" else f"{n:.1f} {unit}"
