"""What a server takes at most, whoever asks."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MOST_LAYERS", "MOST_NAME", "MOST_PAGE", "MOST_RESULTS", "MOST_SEARCH", "MOST_TENSORS", "Limits"]

MOST_RESULTS = 100
"""Sources of one answer."""

MOST_PAGE = 500
"""Items of one page of a list."""

MOST_LAYERS, MOST_TENSORS = 10_000, 50_000
"""Of an architecture that is sent; the largest ones of the index have some 2,000 layers."""

MOST_NAME = 200
MOST_SEARCH = 200
"""Characters."""


@dataclass(frozen=True)
class Limits:
    """What a server spends on its questions.

    Parameters
    ----------
    workers : int
        Processes that answer; each has the index in memory.
    waiting : int
        Questions that may wait for one of them; any more are refused with 503.
    seconds : float
        For one question; a process that takes longer is ended.
    body_bytes : int
        Of a question.
    body_seconds : float
        Until a question has arrived.
    connections : int
        At a time.
    head_bytes : int
        Of the address and the headers of a question.
    """

    workers: int = 2
    waiting: int = 128
    seconds: float = 20.0
    body_bytes: int = 8 << 20
    body_seconds: float = 15.0
    connections: int = 512
    head_bytes: int = 32 << 10
