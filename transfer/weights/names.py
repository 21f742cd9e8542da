"""Names of tensors, sorted as people count."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["natural_order"]


def natural_order(names: Iterable[str]) -> list[str]:
    """Sort names so that block 9 comes before block 10."""
    return sorted(names, key=_natural)


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key; int() would refuse a number of 5000 digits."""
    parts = re.split(r"(\d+)", name)
    parts[1::2] = [number.lstrip("0") for number in parts[1::2]]
    return [*((len(part) * (i % 2), part) for i, part in enumerate(parts)), (0, name)]
