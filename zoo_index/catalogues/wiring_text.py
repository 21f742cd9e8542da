"""What is around the layers of an architecture (`transfer.wiring`) as short texts, one a layer.

Layers are named by how far away they stand, and branches by how many others began since. So blocks that repeat have
equal texts, which compress well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

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
    rows = [(text.split("|") + [""] * 4)[:4] for text in texts]
    branches: list[list[tuple[int, bool]]] = []
    n_known = 0
    for _, _, inside, _ in rows:
        found = [(n_known + int(one.removesuffix("c")), one.endswith("c")) for one in inside.split()]
        n_known = max([n_known, *(number + 1 for number, _ in found)])
        branches.append(found)
    n_layers = Counter(number for found in branches for number, _ in found)

    def path(i: int, step: str) -> str:
        return paths[i + int(step)] if step else ""

    wirings = []
    for i, (feeds, beside, _, ends) in enumerate(rows):
        around = tuple(Branch(number, n_layers[number], is_appended) for number, is_appended in branches[i])
        wirings.append(Wiring(path(i, feeds), path(i, beside), around, tuple(around[int(k)] for k in ends.split())))
    return wirings
