"""Attention heads: whole heads stay together, also where they are wider or narrower in the other network.

Heads of one width need no care, since leading channels are whole heads. Otherwise each head of the source goes to
the head of the same number, into its leading channels. A wider head divides its scores by a larger root; the query
is scaled to make up for that, and the new channels of the key start at zero, so that they do not disturb the scores
while those of the query, which are random, let them learn.
"""

from __future__ import annotations

from collections.abc import Sequence

from transfer.alignment.matching import LayerPair
from transfer.operators import Channels
from transfer.regions import Span
from transfer.structure.layers import in_width, is_weighted, out_width
from transfer.structure.meaning import n_fused_parts
from transfer.structure.records import Layer

__all__ = ["attention_channels", "head_spans", "repeated_heads"]


def head_spans(n_old: int, n_new: int, heads_old: int, heads_new: int) -> list[Span] | None:
    """Place the heads of one set of channels, those of queries say.

    Parameters
    ----------
    n_old, n_new : int
        Channels of source and target.
    heads_old, heads_new : int
        Heads, 0 where unknown.

    Returns
    -------
    list of Span or None
        One per head; None where the leading channels are whole heads, or nothing better is known.
    """
    if not heads_old or not heads_new or n_old % heads_old or n_new % heads_new:
        return None
    width, new_width = n_old // heads_old, n_new // heads_new
    if width == new_width:
        return None
    return [(h * width, h * new_width, min(width, new_width)) for h in range(min(heads_old, heads_new))]


def attention_channels(
    source: Sequence[Layer], target: Sequence[Layer], old: Layer, new: Layer
) -> dict[str, Channels]:
    """Channels of a fused query, key and value layer (or key and value) and of the projection that reads its heads.

    Parameters
    ----------
    source, target : sequence of Layer
        Of the blocks that the layers lie in.
    old, new : Layer
        A matched pair.

    Returns
    -------
    dict of str to Channels
        By path of the target layer; empty where leading channels will do.
    """
    n = n_fused_parts(target, _position(target, new))
    a, b = out_width(old) // n, out_width(new) // n
    if n == 1 or a == b or n != n_fused_parts(source, _position(source, old)):
        return {}
    spans = head_spans(a, b, old.n_heads, new.n_heads)
    if spans is None:
        outputs = tuple((i * a, i * b, min(a, b)) for i in range(n))
        return {new.path: Channels(outputs=outputs, operator="leading by part")}
    width, new_width = a // old.n_heads, b // new.n_heads
    by_head = tuple((i * a + s, i * b + t, size) for i in range(n) for s, t, size in spans)
    scales: tuple[float, ...] | None = None
    cleared: tuple[tuple[int, int], ...] = ()
    if new_width > width:
        key = n - 2  # query, key, value; or key, value
        cleared = tuple((key * b + t + width, new_width - width) for _, t, _ in spans)
        if n == 3:
            scales = tuple((new_width / width) ** 0.5 if i == 0 else 1.0 for i in range(n) for _ in spans)
    found = {new.path: Channels(outputs=by_head, scales=scales, cleared=cleared, operator="by head")}
    readers = [layer for layer in target[_position(target, new) + 1 :] if is_weighted(layer)]
    if readers and in_width(readers[0]) == b:
        found[readers[0].path] = Channels(inputs=tuple(spans), operator="by head")
    return found


def repeated_heads(pairs: Sequence[LayerPair]) -> dict[str, Channels]:
    """Channels of keys and values that fewer heads of queries share than before: those that share one get copies.

    So a network in which every head of queries has keys of its own computes what one with grouped queries does.

    Parameters
    ----------
    pairs : sequence of LayerPair
        Of one block of the target.

    Returns
    -------
    dict of str to Channels
        By path of the target layer.
    """
    headed = [p for p in pairs if p.source.n_heads and p.target.n_heads and is_weighted(p.target)]
    queries = {p.target.n_heads: _head_width(p.target) for p in headed if p.source.dims == p.target.dims}
    found: dict[str, Channels] = {}
    for pair in headed:
        few, many, width = pair.source.n_heads, pair.target.n_heads, _head_width(pair.target)
        shares = any(n > few and n % many == 0 and width == other for n, other in queries.items())
        if many > few and many % few == 0 and width == _head_width(pair.source) and shares:
            spans = tuple((i * few // many * width, i * width, width) for i in range(many))
            found[pair.target.path] = Channels(outputs=spans, operator="repeat heads")
    return found


def _head_width(layer: Layer) -> int:
    return out_width(layer) // layer.n_heads


def _position(layers: Sequence[Layer], layer: Layer) -> int:
    return next(i for i, other in enumerate(layers) if other is layer)
