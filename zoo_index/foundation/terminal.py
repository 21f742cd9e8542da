"""What a stream may be sent: colours, a line that is written over, or plain text alone.

One place decides it for tables and for progress: ``NO_COLOR`` (https://no-color.org) turns every style off,
``FORCE_COLOR`` turns styles on where there is no terminal, ``TERM=dumb`` is a terminal that can do neither.
"""

from __future__ import annotations

import os
import shutil
from typing import TextIO

__all__ = ["can_overwrite", "has_styles", "width_of"]


def has_styles(stream: TextIO) -> bool:
    """Whether text on a stream may have colours and weights."""
    if os.environ.get("NO_COLOR"):
        return False
    forced = os.environ.get("FORCE_COLOR")
    if forced:
        return forced not in ("0", "false")
    return can_overwrite(stream)


def can_overwrite(stream: TextIO) -> bool:
    """Whether a stream is a terminal that can go back to the start of a line and clear it."""
    try:
        return stream.isatty() and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")
    except (AttributeError, ValueError):  # none, or closed
        return False


def width_of(stream: TextIO) -> int:
    """Columns of the terminal that a stream is; ``COLUMNS`` goes first, 80 where nobody knows."""
    try:
        own = os.get_terminal_size(stream.fileno()).columns
    except (AttributeError, OSError, ValueError):
        own = 0
    if own and not os.environ.get("COLUMNS"):
        return own
    return shutil.get_terminal_size((own or 80, 24)).columns
