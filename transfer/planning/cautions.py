"""What a plan takes for granted, and whoever reads it should know: heads of attention, rows of a vocabulary."""

from __future__ import annotations

from transfer.alignment.any_order import was_run
from transfer.alignment.matching import Alignment, LayerPair
from transfer.structure.layers import is_lookup, is_weighted, out_width
from transfer.structure.records import Layer

__all__ = ["cautions"]

_HEADS = (
    "the source does not tell how many heads its attention has: if they are not as wide as the target's, they are "
    "mixed; "
)
_CODE = "name the code of the source as well: -s net.py:Net --weights FILE, in Python source_structure="
_ATTRIBUTE = "an attribute num_heads of the module tells it"
_OTHER_HEADS = (
    "{target} has {n_target} heads of attention, in the source {n_source} share the same width: the rows are taken "
    "as they are, and the attention computes something else; it starts closer with {n_source} heads"
)
_ROWS = (
    "tables of other lengths in the source: {tables}; rows are taken by number, which is right where a number "
    "means the same in both (a position, a word of one tokenizer)"
)
_MOST_TABLES = 3


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
        found.append(_HEADS + (_ATTRIBUTE if was_run(alignment.source) else _CODE))
    for pair in filter(_are_heads_others, alignment.pairs):
        heads = {"n_target": pair.target.n_heads, "n_source": pair.source.n_heads}
        found.append(_OTHER_HEADS.format(target=pair.target.tensors[0].name, **heads))
        break
    tables = sorted(filter(_are_rows_left, alignment.pairs), key=lambda pair: -_n_rows(pair.target))
    if tables:
        each = (
            f"{pair.target.tensors[0].name} has {_n_rows(pair.target):,} rows, there are {_n_rows(pair.source):,}"
            for pair in tables[:_MOST_TABLES]
        )
        found.append(_ROWS.format(tables=", ".join(each)))
    return found


def _are_heads_unknown(pair: LayerPair) -> bool:
    """Whether an attention of known heads is fed by a linear layer of other width, of which they are not known."""
    source, target = pair.source, pair.target
    is_attention = target.n_heads > 0 and is_weighted(target) and source.kind == "linear"
    return is_attention and not source.n_heads and out_width(source) != out_width(target)


def _are_heads_others(pair: LayerPair) -> bool:
    """Whether the same channels are divided among another number of heads."""
    source, target = pair.source, pair.target
    if not (source.n_heads and target.n_heads) or source.n_heads == target.n_heads or is_lookup(target):
        return False
    width = out_width(target)
    return out_width(source) == width and not width % source.n_heads and not width % target.n_heads


def _are_rows_left(pair: LayerPair) -> bool:
    """Whether both are tables that rows are looked up in, and one has more of them."""
    source, target = pair.source, pair.target
    are_tables = is_lookup(target) and len(source.dims or ()) == 2 and (is_lookup(source) or not source.facts)
    return are_tables and _n_rows(source) != _n_rows(target)


def _n_rows(layer: Layer) -> int:
    return layer.tensors[0].shape[0]
