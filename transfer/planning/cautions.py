"""What a plan takes for granted, and whoever reads it should know: heads of attention, rows of a vocabulary."""

from __future__ import annotations

from transfer.alignment.any_order import was_run
from transfer.alignment.matching import Alignment, LayerPair
from transfer.structure.layers import is_lookup, is_weighted, out_width
from transfer.structure.records import Layer

__all__ = ["SEPARATOR", "with_cautions"]

SEPARATOR = "; "
"""Between the sentences of a note; no caution has it within."""

_HEADS = (
    "the source does not tell how many heads its attention has, which are mixed if they are not as wide as the "
    "target's ({remedy})"
)
_CODE = "name its code as well: in Python source_structure=, or zoo transfer -s net.py:Net --weights FILE"
_ATTRIBUTE = "an attribute num_heads of the module tells it"
_OTHER_HEADS = (
    "other numbers of heads ({layers}): the rows are taken as they are, so the attention computes something else, "
    "and is closer to its source with as many heads"
)
_ROWS = (
    "tables of other lengths in the source ({tables}): rows are taken by number, which is right where a number "
    "means the same in both (a position, a word of one tokenizer)"
)
_MOST_NAMED = 3


def with_cautions(note: str, alignment: Alignment) -> str:
    """Add to a note what the plan of an alignment had to take for granted, each kind at most once.

    Parameters
    ----------
    note : str
        May be empty.
    alignment : Alignment
        In ``dpiat`` form.
    """
    return SEPARATOR.join(filter(None, (note, *_cautions(alignment))))


def _cautions(alignment: Alignment) -> list[str]:
    found = []
    if any(map(_are_heads_unknown, alignment.pairs)):
        found.append(_HEADS.format(remedy=_ATTRIBUTE if was_run(alignment.source) else _CODE))
    others: dict[tuple[int, int], Layer] = {}  # the first layer of each two numbers
    for pair in filter(_have_other_heads, alignment.pairs):
        others.setdefault((pair.target.n_heads, pair.source.n_heads), pair.target)
    if others:
        layers = [f"{layer.tensors[0].name} has {n}, its source {m}" for (n, m), layer in others.items()]
        found.append(_OTHER_HEADS.format(layers=", ".join(layers[:_MOST_NAMED])))
    tables = sorted(filter(_are_rows_left, alignment.pairs), key=lambda pair: -_n_rows(pair.target))
    if tables:
        each = (
            f"{pair.target.tensors[0].name} has {_n_rows(pair.target):,} rows, there are {_n_rows(pair.source):,}"
            for pair in tables[:_MOST_NAMED]
        )
        found.append(_ROWS.format(tables=", ".join(each)))
    return found


def _are_heads_unknown(pair: LayerPair) -> bool:
    """Whether an attention of known heads is fed by a linear layer of other width, of which they are not known."""
    source, target = pair.source, pair.target
    is_attention = target.n_heads > 0 and is_weighted(target) and source.kind == "linear"
    return is_attention and not source.n_heads and out_width(source) != out_width(target)


def _have_other_heads(pair: LayerPair) -> bool:
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
