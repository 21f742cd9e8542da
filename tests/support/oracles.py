"""Slow, plain Python versions of what the kernels compute, straight from the published formulas."""

from __future__ import annotations

from itertools import pairwise
from math import sqrt

Matrix = list[list[float]]


def layer_score(a: tuple[str, tuple[int, ...]] | None, b: tuple[str, tuple[int, ...]] | None) -> float:
    """Product of min(x/y, y/x) over dimensions; 0 for unlike kinds and placeholders.

    A convolution counts as one of three dimensions, and so does a linear layer, which has one position.
    """
    if a is None or b is None:
        return 0.0
    a, b = (as_3d(*layer) for layer in (a, b))
    if a[0] != b[0] or len(a[1]) != len(b[1]):
        return 0.0
    score = 1.0
    for x, y in zip(a[1], b[1], strict=True):
        score *= min(x / y, y / x)
    return score


def as_3d(kind: str, shape: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """Write every layer that mixes channels as the same kind, but for signals along channels."""
    if kind in ("linear", "conv1d", "conv2d", "conv3d") and (
        len(shape) != 3 or shape[:2] != (1, 1) or shape[2] == 1
    ):
        return "conv", (*shape[:2], *(1,) * (5 - len(shape)), *shape[2:])
    return kind, shape


def align(scores: Matrix) -> tuple[float, list[tuple[int, int]]]:
    """Value and pairs (target, source) of the dynamic programme; scores[i][j] for target i, source j."""
    n = len(scores)
    m = len(scores[0]) if scores else 0
    value = [[0.0] * (m + 1) for _ in range(n + 1)]
    back: dict[tuple[int, int], int | str] = {}
    for i in range(1, n + 1):
        for j in range(1, m + 1):
            if value[i - 1][j] > value[i][j - 1]:
                best, choice = value[i - 1][j], "target unmatched"
            else:
                best, choice = value[i][j - 1], "source unused"
            total = 0.0
            for k in range(i, 0, -1):
                total += scores[k - 1][j - 1]
                candidate = value[k - 1][j - 1] + total / sqrt(i - k + 1)
                if candidate > best:
                    best, choice = candidate, k
            value[i][j] = best
            back[i, j] = choice
    pairs = []
    i, j = n, m
    while i > 0 and j > 0:
        choice = back[i, j]
        if choice == "target unmatched":
            i -= 1
        elif choice == "source unused":
            j -= 1
        else:
            assert isinstance(choice, int)
            pairs += [(t - 1, j - 1) for t in range(i, choice - 1, -1) if scores[t - 1][j - 1] > 0]
            i, j = choice - 1, j - 1
    return value[n][m], pairs[::-1]


def best_value_by_enumeration(scores: Matrix) -> float:
    """Best alignment value by trying every order-preserving assignment; for tiny matrices only."""
    n = len(scores)
    m = len(scores[0]) if scores else 0

    def runs(choice: list[int | None]) -> float:
        total, i = 0.0, 0
        while i < n:
            source = choice[i]
            k = i
            while i < n and choice[i] == source:
                i += 1
            if source is not None:
                total += sum(scores[t][source] for t in range(k, i)) / sqrt(i - k)
        return total

    best = 0.0
    options: list[list[int | None]] = [[]]
    for _ in range(n):
        options = [[*o, s] for o in options for s in (None, *range(m))]
    for choice in options:
        used = [s for s in choice if s is not None]
        if all(a <= b for a, b in pairwise(used)) and _contiguous(choice):
            best = max(best, runs(choice))
    return best


def _contiguous(choice: list[int | None]) -> bool:
    """Whether each source feeds one unbroken run."""
    seen: set[int] = set()
    previous: int | None = None
    for source in choice:
        if source is not None and source != previous:
            if source in seen:
                return False
            seen.add(source)
        previous = source
    return True


def architecture_value(source: list[object], target: list[object]) -> float:
    """V(source, target) of two-level lists of layers: a layer is a tuple or None, a block a list of them."""

    def score(s: object, t: object) -> float:
        if isinstance(s, list) != isinstance(t, list):
            return 0.0
        if isinstance(s, list):
            assert isinstance(t, list)
            return align([[layer_score(a, b) for a in s] for b in t])[0]
        return layer_score(s, t)  # type: ignore[arg-type]

    return align([[score(s, t) for s in source] for t in target])[0]
