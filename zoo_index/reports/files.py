"""What a weights file holds, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_index.reports.page import Page, in_bytes

if TYPE_CHECKING:
    from transfer.weights.holdings import Holdings

__all__ = ["show_holdings"]


def show_holdings(page: Page, found: Holdings, *, verbose: bool) -> None:
    """Print the state dicts of a file, and the tensors of the one that would be taken."""
    order = "" if found.is_ordered else "; the order of the layers is not in it"
    page.line((found.path, "bold"), f": {found.format}, {in_bytes(found.n_bytes)}{order}")
    rows = [
        [
            (
                state.key or ("(whole file)" if state.is_taken else "(loose tensors)"),
                "bold" if state.is_taken else "",
            ),
            state.kind,
            f"{state.n_tensors:,}",
            f"{state.n_values:,}",
            in_bytes(state.n_bytes),
            ", ".join(f"{n:,} {kind}" for kind, n in state.types.items()),
            ("taken", "green") if state.is_taken else "",
        ]
        for state in found.states
    ]
    if rows:
        columns = ("state dict", "kind", "tensors", "elements", "size", "types", "")
        page.table(
            columns,
            rows,
            ("tensors", "elements", "size"),
            whole=("state dict",),
            drop=("types", "elements", "kind"),
        )
    if verbose and found.tensors:
        page.table(
            ("tensor", "shape", "type"),
            [[name, "x".join(map(str, shape)) or "-", kind] for name, (shape, kind) in found.tensors.items()],
        )
    if found.refusal:
        page.line(("refused", "red"), f": {found.refusal}")
        return
    kinds = [state.kind for state in found.states if not state.is_taken and state.key]
    if "weights" in kinds:
        page.line(("another one: --state KEY", "dim"))
    if "averaged weights" in kinds:
        page.line(("averaged weights: --ema", "dim"))
