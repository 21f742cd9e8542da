"""Which architecture a name means, and which names are like one that means none."""

from __future__ import annotations

import difflib
from bisect import bisect_left

from zoo_index.server.atlas import Atlas

__all__ = ["Names"]

_MOST_ALIKE = 5
_MOST_COMPARED = 100
"""Names before and after the one that is asked for, in the order of the alphabet: those begin most like it."""


class Names:
    """Names of the architectures and sets of weights of an atlas.

    Parameters
    ----------
    atlas : Atlas
    """

    def __init__(self, atlas: Atlas) -> None:
        self._atlas = atlas
        self._owners = {name: atlas.owner(i) for i, name in enumerate(atlas.entry_names)}
        self._sorted = sorted((key.lower(), key) for key in atlas.keys)

    def meant(self, name: str) -> str | None:
        """Return the architecture that a name means, also with its catalogue or of a set of weights, or None."""
        row = self._atlas.row(name)
        row = self._owners.get(name) if row is None else row
        return None if row is None else self._atlas.keys[row]

    def alike(self, name: str) -> list[str]:
        """Return a few names of architectures that are like a name, the most like it first."""
        wanted = name.lower()
        place = bisect_left(self._sorted, (wanted,))
        near = dict(self._sorted[max(place - _MOST_COMPARED, 0) : place + _MOST_COMPARED])
        return [near[key] for key in difflib.get_close_matches(wanted, near, n=_MOST_ALIKE, cutoff=0.6)]
