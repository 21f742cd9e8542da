"""Numbers of channels, and shadows: tensors that hold for each element of another tensor the number of its channel.

0 stands for an element of no channel, or of nobody knows which. Most shadows are the same along all dimensions but
one and are kept expanded: they take hardly any memory, and what is asked of them is quickly answered.
"""

from __future__ import annotations

import torch

__all__ = ["Numbers", "broadcast", "can_expand", "cost", "is_spread_over", "placed"]


class Numbers:
    """Numbers of channels, some of which turn out to be one (union-find)."""

    def __init__(self) -> None:
        self._parent = torch.arange(1 << 12)
        self._size = 1

    def new(self, n: int) -> torch.Tensor:
        """Give out numbers that are not in use."""
        start, self._size = self._size, self._size + n
        if self._size > len(self._parent):
            self._parent = torch.cat([self._parent, torch.arange(len(self._parent), 2 * self._size)])
        return torch.arange(start, start + n)

    def roots(self, numbers: torch.Tensor) -> torch.Tensor:
        """Replace each number by the smallest that is the same channel."""
        while True:
            above = self._parent[numbers]
            if torch.equal(above, numbers):
                return numbers
            numbers = above

    def join(self, a: torch.Tensor, b: torch.Tensor) -> bool:
        """Let numbers in equal places be one, unless every one would meet every other: tokens and channels."""
        if a.shape != b.shape or torch.equal(a, b):
            return True
        a, b = _compressed(a, b)
        both = torch.stack([a.reshape(-1), b.reshape(-1)])
        both = self._distinct(both[:, (both[0] != both[1]) & (both != 0).all(0)])
        if both.numel():
            often = [row.unique(return_inverse=True, return_counts=True)[1:] for row in both]
            if bool(torch.stack([counts[places] > 1 for places, counts in often]).all(0).any()):
                return False
        while both.numel():
            both = both.sort(0).values
            # where a number is to join several, it joins the smallest, and these join that in the next round
            self._parent.scatter_reduce_(0, both[1], both[0], "amin")
            both = self._distinct(both)
        return True

    def _distinct(self, both: torch.Tensor) -> torch.Tensor:
        """Pairs of different channels, each once."""
        if not both.numel():
            return both
        both = self.roots(_once(both))
        return _once(both[:, both[0] != both[1]])

    def shared(self, shadow: torch.Tensor, axis: int) -> torch.Tensor:
        """Return what elements along an axis share, with size 1; 0 where they differ; padding does not count."""
        if shadow.stride(axis) == 0 or shadow.shape[axis] == 1:
            return shadow.narrow(axis, 0, 1)
        largest = shadow.amax(axis, keepdim=True)
        if bool(((shadow == largest) | (shadow == 0)).all()):
            return largest
        shadow = self.roots(shadow)
        largest = shadow.amax(axis, keepdim=True)
        return torch.where(((shadow == largest) | (shadow == 0)).all(axis, keepdim=True), largest, 0)

    def along(self, shadow: torch.Tensor | None, axis: int, size: int) -> torch.Tensor:
        """Return the numbers along an axis, 0 where they differ along the others, or nothing is known."""
        if shadow is None:
            return torch.zeros(size, dtype=torch.long)
        rows = shadow.movedim(axis, 0).reshape(size, -1) if shadow.dim() > 1 else shadow[:, None]
        return self.shared(rows, 1)[:, 0]


def _once(both: torch.Tensor) -> torch.Tensor:
    """Each pair of numbers once."""
    pairs: torch.Tensor = torch.unique(both[0] << 32 | both[1])
    return torch.stack([pairs >> 32, pairs & 0xFFFFFFFF])


def can_expand(shadow: torch.Tensor, result: torch.Tensor) -> bool:
    """Whether a shadow can be expanded to the shape of a tensor."""
    shape = (1,) * (result.dim() - shadow.dim()) + tuple(shadow.shape)
    return len(shape) == result.dim() and all(a in (1, b) for a, b in zip(shape, result.shape, strict=True))


def is_spread_over(shadow: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether one channel meets many of the other operand: a map of weights for all of them, not one for each."""
    for axis in range(-other.dim(), 0):
        is_single = -axis > shadow.dim() or shadow.shape[axis] == 1
        is_broadcast = is_single and other.shape[axis] > 1 and other.stride(axis) != 0
        if is_broadcast and bool((other != other.narrow(axis, 0, 1)).any()):
            return True
    return False


def broadcast(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Expand two shadows to one shape."""
    first, second = torch.broadcast_tensors(a, b)  # type: ignore[no-untyped-call]
    return first, second


def _compressed(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Leave out dimensions along which neither changes."""
    for axis in range(a.dim()):
        if a.stride(axis) == 0 and b.stride(axis) == 0:
            a, b = a.narrow(axis, 0, 1), b.narrow(axis, 0, 1)
    return a, b


def cost(shadow: torch.Tensor) -> tuple[bool, int]:
    """Tell whether anything is unknown, and how much memory it takes: what to prefer of equal shadows."""
    corner = _compressed(shadow, shadow)[0]
    return bool((corner == 0).any()), shadow.untyped_storage().nbytes()


def placed(numbers: torch.Tensor, axis: int, result: torch.Tensor) -> torch.Tensor:
    """Lay numbers along an axis of a tensor."""
    shape = [1] * result.dim()
    shape[axis] = len(numbers)
    return numbers.view(shape).expand(result.shape)
