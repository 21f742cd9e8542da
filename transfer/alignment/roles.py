"""Blocks that go on in a stage, and blocks that begin one: like feeds like.

A block that returns to the channels it starts from adds to what it is given, or might; one that does not makes
something else of it, as a rule on another grid. By shapes alone the first block of a stage may score best with the
last one of the stage before, if that is as wide as it reads. Then the source's step to the next stage would be
added to a stream that it does not belong to. So a pair of unlike blocks counts less where it is decided what feeds
what; how alike networks are, as a number, is left as it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from transfer.structure.meaning import keeps_width
from transfer.structure.records import Architecture, Block, remembered

__all__ = ["by_role", "goes_on"]

_UNLIKE = 0.5
"""What a pair of unlike blocks counts, relative to its shapes; anything from 0.25 to 0.7 places MnasNet's stages
where MobileNet v2 has them."""


def by_role(scores: NDArray[np.float64], source: Architecture, target: Architecture) -> NDArray[np.float64]:
    """Let pairs of blocks count less of which one keeps its width and the other does not.

    Parameters
    ----------
    scores : ndarray of shape (n_target, n_source)
    source, target : Architecture
        In ``dpiat`` form.
    """
    rows, columns = goes_on(target), goes_on(source)
    are_blocks = (rows >= 0)[:, None] & (columns >= 0)[None, :]
    is_unlike = are_blocks & (rows[:, None] != columns[None, :])
    return np.where(is_unlike, _UNLIKE * scores, scores)


@remembered
def goes_on(architecture: Architecture) -> NDArray[np.int64]:
    """Tell whether each item keeps its width, as blocks do within a stage; -1 for single layers."""
    return np.array(
        [int(keeps_width(item)) if isinstance(item, Block) else -1 for item in architecture.items],
        dtype=np.int64,
    )
