"""Where things lie in a picture of a plan for a paper: blocks, neighbours drawn as one, what flows where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zoo_index.foundation.plain_text import plain

__all__ = ["MOST_ROWS", "ROW", "Flow", "Row", "flows", "rows_of", "stack"]

ROW, GAP = 0.15, 0.05
"""Inches of a block, and between two."""

MOST_ROWS = 44
"""Of so many one can still read the names on a page; of more, neighbours are drawn as one."""

Flow = tuple[float, float]
"""Values, and values times similarity."""


@dataclass
class Row:
    """A block, or several neighbours: which tensors it has and where it lies, in inches from above."""

    label: str
    first: int
    end: int
    side: int
    y: float = 0.0


def rows_of(sides: Sequence[Mapping[str, Any]], texts: Sequence[str]) -> list[Row]:
    """Return the blocks of networks, as `html.drawing.drawn` writes them; of many, neighbours as one."""
    found = []
    for number, side in enumerate(sides):
        ends = [side["layers"][3 * end - 1] for end in side["ends"]]
        for i, (label, end) in enumerate(zip(side["blocks"], ends, strict=True)):
            found.append(Row(plain(texts[label]), ends[i - 1] if i else 0, end, number))
    size = -(-len(found) // MOST_ROWS)
    if size > 1:
        found = [
            row for number in range(len(sides)) for row in _merged([r for r in found if r.side == number], size)
        ]
    return found


def _merged(rows: Sequence[Row], size: int) -> list[Row]:
    """Draw so many neighbours as one."""
    groups = [rows[i : i + size] for i in range(0, len(rows), size)]
    return [
        Row(
            group[0].label if len(group) == 1 else f"{group[0].label} – {group[-1].label}",
            group[0].first,
            group[-1].end,
            group[0].side,
        )
        for group in groups
    ]


def stack(givers: Sequence[Row], receiver: Sequence[Row], found: Mapping[tuple[int, int], Flow]) -> float:
    """Place the rows, those of the shorter column beside what they are matched with; return the height."""
    step = ROW + GAP
    long, short, at = (givers, receiver, 1) if len(givers) > len(receiver) else (receiver, givers, 0)
    for i, row in enumerate(long):
        row.y = i * step
    height = max(len(long), 1) * step
    partners: dict[int, list[tuple[float, float]]] = {}
    for key, (n, _) in found.items():
        partners.setdefault(key[at], []).append((long[key[1 - at]].y, max(n, 1e-6) ** 0.5))
    wanted, last = [], 0.0
    for i in range(len(short)):
        near = partners.get(i, [(last, 1e-3)])
        weight = sum(w for _, w in near)
        last = sum(y * w for y, w in near) / weight
        wanted.append((last - i * step, weight))
        last += step
    most = height - len(short) * step
    for i, (row, shift) in enumerate(zip(short, _rising(wanted), strict=True)):
        row.y = i * step + min(max(shift, 0.0), most)
    return height


def _rising(values: Sequence[tuple[float, float]]) -> list[float]:
    """Return the rising numbers nearest to some with weights (isotonic regression)."""
    pools: list[tuple[float, float, int]] = []
    for value, weight in values:
        mean, total, n = value, weight, 1
        while pools and pools[-1][0] > mean:
            other, more, m = pools.pop()
            mean, total, n = (mean * total + other * more) / (total + more), total + more, n + m
        pools.append((mean, total, n))
    return [mean for mean, _, n in pools for _ in range(n)]


def flows(data: Mapping[str, Any], givers: Sequence[Row], receiver: Sequence[Row]) -> dict[tuple[int, int], Flow]:
    """Sum up what goes from which row to which: values, and values times similarity."""
    scores = _scores(data)
    layer_of = [
        {t: i for i in range(len(side["layers"]) // 3) for t in range(*_span(side, i))}
        for side in (data["target"], *data["sources"])
    ]
    giver_of = {(row.side, u): i for i, row in enumerate(givers) for u in range(row.first, row.end)}
    receiver_of = {t: i for i, row in enumerate(receiver) for t in range(row.first, row.end)}
    found: dict[tuple[int, int], Flow] = {}
    for t, side, u, n in zip(*(data["links"][i::4] for i in range(4)), strict=True):
        layer = layer_of[0][t]
        score = scores.get((layer, side, layer_of[1 + side][u]), scores.get((layer, -1, -1), 0.5))
        key = giver_of[side, u], receiver_of[t]
        values, weighted = found.get(key, (0.0, 0.0))
        found[key] = values + n, weighted + n * score
    return found


def _span(side: Mapping[str, Any], layer: int) -> tuple[int, int]:
    """Which tensors a layer has."""
    return (side["layers"][3 * layer - 1] if layer else 0, side["layers"][3 * layer + 2])


def _scores(data: Mapping[str, Any]) -> dict[tuple[int, int, int], float]:
    """Similarities of layers; under (layer, -1, -1) the first that a layer of the target has."""
    found: dict[tuple[int, int, int], float] = {}
    for b, side, a, score in zip(*(data["pairs"][i::4] for i in range(4)), strict=True):
        found[b, side, a] = score / 1000
        found.setdefault((b, -1, -1), score / 1000)
    return found
