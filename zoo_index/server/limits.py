"""What a server takes at most, whoever asks."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "MOST_LAYERS",
    "MOST_NAME",
    "MOST_PAGE",
    "MOST_RESULTS",
    "MOST_SEARCH",
    "MOST_SMALL_LAYERS",
    "MOST_TENSORS",
    "Limits",
]

MOST_RESULTS = 100
"""Sources of one answer."""

MOST_PAGE = 500
"""Items of one page of a list."""

MOST_LAYERS, MOST_TENSORS = 2_500, 10_000
"""Of an architecture that is sent; the largest ones of the shipped index have 1,129 layers with parameters."""

MOST_SMALL_LAYERS = 500
"""With parameters, of a network that any worker compares: this takes a second or so."""

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
    pending_bytes : int
        Of all questions that are at work or wait, without the first 64 kB of each.
    connections : int
        At a time.
    peer_connections : int
        At a time, from one address.
    head_bytes : int
        Of the address and the headers of a question.
    head_seconds : float
        Until these have arrived, from the beginning of a connection or from the answer before.
    write_seconds : float
        For a peer that does not read its answer.
    end_seconds : int
        For questions that are being answered when the server ends.
    """

    workers: int = 2
    waiting: int = 128
    seconds: float = 20.0
    body_bytes: int = 8 << 20
    body_seconds: float = 15.0
    pending_bytes: int = 128 << 20
    connections: int = 512
    peer_connections: int = 256
    head_bytes: int = 32 << 10
    head_seconds: float = 10.0
    write_seconds: float = 30.0
    end_seconds: int = 5
