"""What a plan takes for granted, and whoever reads it should know: heads of attention, rows of a vocabulary."""

from __future__ import annotations

from transfer.alignment.matching import Alignment, LayerPair
from transfer.structure.layers import is_lookup, is_weighted, out_width
from transfer.structure.records import Layer

__all__ = ["cautions"]

_HEADS = (
    "the source does not tell how many heads its attention has: if they are not as wide as the target's, they are "
    "mixed; name the code of the source as well: -s net.py:Net --weights FILE, in Python source_structure="
)
_ROWS = (
    "{name} has {n_source:,} rows in the source and {n_target:,} in the target: rows are taken by number, which is "
    "right if a number means the same in both, as with one tokenizer"
)


def cautions(alignment: Alignment) -> list[str]:
    """Say what the plan of an alignment had to take for granted.

    Parameters
    ----------
    alignment : Alignment
        In ``dpiat`` form.

    Returns
    -------
    list of str
        At most one text of a kind.
    """
    found = []
    if any(map(_are_heads_unknown, alignment.pairs)):
        found.append(_HEADS)
    tables = [pair for pair in alignment.pairs if _are_rows_left(pair)]
    if tables:
        largest = max(tables, key=lambda pair: _n_rows(pair.target))
        name = largest.target.tensors[0].name
        found.append(_ROWS.format(name=name, n_source=_n_rows(largest.source), n_target=_n_rows(largest.target)))
    return found


def _are_heads_unknown(pair: LayerPair) -> bool:
    source, target = pair.source, pair.target
    is_attention = target.n_heads > 0 and is_weighted(source) and is_weighted(target)
    return is_attention and not source.n_heads and out_width(source) != out_width(target)


def _are_rows_left(pair: LayerPair) -> bool:
    """Whether both are tables that rows are looked up in, and one has more of them."""
    are_tables = is_lookup(pair.target) and len(pair.source.dims or ()) == 2
    return are_tables and _n_rows(pair.source) != _n_rows(pair.target)


def _n_rows(layer: Layer) -> int:
    return layer.tensors[0].shape[0]
