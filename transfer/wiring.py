"""Where what a layer gives goes to: to the next layer alone, through a gate, beside a stream that it is added to.

Shapes tell none of this: a shortcut is as wide as a branch, a squeeze-excite branch looks like a bottleneck, and
something may be added between two layers that follow each other. A run of the network does (`tracing.wiring`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

__all__ = ["Branch", "Wiring"]


class Branch(NamedTuple):
    """What is done to a stream beside it: made of the very thing that its result is added or appended to.

    A shortcut that is itself a layer makes no branch: neither of the two then passes its input on.

    Parameters
    ----------
    number : int
        Different for each branch of a network.
    n_layers : int
        Layers that lie in it.
    is_appended : bool
        Whether it is concatenated with the stream and not added to it.
    """

    number: int
    n_layers: int
    is_appended: bool = False


@dataclass(frozen=True, slots=True)
class Wiring:
    """What is around a layer.

    Parameters
    ----------
    feeds : str
        Path of the only layer that reads its result as it is; empty if others do too, or something is done to it
        before.
    beside : str
        Of the last layer of a squeeze-excite branch the path of the layer that can make up for what the branch
        multiplies by, since that changes nothing else: the only layer that reads the product; else the one whose
        result is multiplied, if that is read by the branch alone. Empty if there is none.
    inside : tuple of Branch
        Those that it lies in, the innermost first.
    ends : tuple of Branch
        Those of them that it is the last layer of.
    """

    feeds: str = ""
    beside: str = ""
    inside: tuple[Branch, ...] = ()
    ends: tuple[Branch, ...] = ()

    def below(self, prefix: str) -> Wiring:
        """Return the same with paths as they are seen from a node of the name tree; others are left out."""
        feeds, beside = (
            path.removeprefix(prefix) if path.startswith(prefix) else "" for path in (self.feeds, self.beside)
        )
        return replace(self, feeds=feeds, beside=beside)
