"""What is around the layers of an architecture (`transfer.wiring`) as short texts, one a layer.

Layers are named by how far away they stand, and branches by how many others began since. So blocks that repeat have
equal texts, which compress well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from transfer.structure.records import Architecture
from transfer.wiring import Branch, Wiring

__all__ = ["read_wiring", "wiring_texts"]


def wiring_texts(architecture: Architecture) -> tuple[str, ...]:
    """Write what is around each layer; empty where the network was not run."""
    layers = list(architecture.layers())
    if all(layer.wiring is None for layer in layers):
        return ()
    place = {layer.path: i for i, layer in enumerate(layers)}
    numbers: dict[int, int] = {}
    texts = []
    for i, layer in enumerate(layers):
        around = layer.wiring or Wiring()
        steps = [str(place[path] - i) if path in place else "" for path in (around.feeds, around.beside)]
        n_before = len(numbers)
        inside = [
            f"{numbers.setdefault(branch.number, len(numbers)) - n_before}{'c' * branch.is_appended}"
            for branch in around.inside
        ]
        ends = [str(around.inside.index(branch)) for branch in around.ends]
        texts.append("|".join([*steps, " ".join(inside), " ".join(ends)]).rstrip("|"))
    return tuple(texts)


def read_wiring(texts: Sequence[str], paths: Sequence[str]) -> list[Wiring]:
    """Undo `wiring_texts`.

    Parameters
    ----------
    texts : sequence of str
    paths : sequence of str
        What the layers are called now.
    """
    rows = list(map(_read, texts))
    numbers: list[list[int]] = []
    n_known = 0
    for row in rows:
        found = [n_known + number for number, _ in row.inside]
        n_known = max([n_known, *(number + 1 for number in found)])
        numbers.append(found)
    n_layers = Counter(number for found in numbers for number in found)
    wirings = []
    for i, row in enumerate(rows):
        feeds, beside = ("" if step is None else paths[i + step] for step in (row.feeds, row.beside))
        around = tuple(
            Branch(number, n_layers[number], is_appended)
            for number, (_, is_appended) in zip(numbers[i], row.inside, strict=True)
        )
        wirings.append(Wiring(feeds, beside, around, tuple(around[k] for k in row.ends)))
    return wirings


class _Row(NamedTuple):
    """One text: steps to other layers, branches counted from those that began before, places among these."""

    feeds: int | None
    beside: int | None
    inside: tuple[tuple[int, bool], ...]
    ends: tuple[int, ...]


@lru_cache(maxsize=2**14)
def _read(text: str) -> _Row:
    """Read one text; a zoo repeats them."""
    feeds, beside, inside, ends = (text.split("|") + [""] * 4)[:4]
    return _Row(
        int(feeds) if feeds else None,
        int(beside) if beside else None,
        tuple((int(one.removesuffix("c")), one.endswith("c")) for one in inside.split()),
        tuple(map(int, ends.split())),
    )
