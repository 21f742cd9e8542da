"""Messages between the command and the process of a target: JSON, each after its length. Never pickles."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

__all__ = ["MOST_BYTES", "Inbox", "receive", "send"]

MOST_BYTES = 1 << 28
"""No message is longer; the plan of a network with ten thousand tensors takes a few million."""

_MARK = b"zoo1"
_HEAD = len(_MARK) + 8


def send(descriptor: int, message: Any) -> None:
    """Write a message.

    Raises
    ------
    OSError
        If nobody reads there.
    ValueError
        If it is longer than messages may be.
    """
    text = json.dumps(message, separators=(",", ":"), default=str).encode()
    if len(text) > MOST_BYTES:
        raise ValueError(f"expected an answer of at most {MOST_BYTES} bytes, got {len(text)}")
    left = memoryview(_MARK + len(text).to_bytes(8, "big") + text)
    while left:
        left = left[os.write(descriptor, left) :]


def receive(descriptor: int) -> Any:
    """Wait for a message and read it; None where none will come any more."""
    head = _exactly(descriptor, _HEAD)
    text = _exactly(descriptor, int.from_bytes(head[len(_MARK) :], "big")) if head else b""
    return json.loads(text) if text else None


def _exactly(descriptor: int, n: int) -> bytes:
    parts = b""
    while len(parts) < n:
        part = os.read(descriptor, n - len(parts))
        if not part:
            return b""
        parts += part
    return parts


class Inbox:
    """Puts messages together of bytes that come in pieces, from a process that may write anything."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def take(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Take in some bytes and yield the messages that are complete.

        Raises
        ------
        ValueError
            If they are no messages.
        """
        self._bytes += data
        while len(self._bytes) >= _HEAD:
            if self._bytes[: len(_MARK)] != _MARK:
                raise ValueError("expected a message, got other bytes")
            size = int.from_bytes(self._bytes[len(_MARK) : _HEAD], "big")
            if size > MOST_BYTES:
                raise ValueError(f"expected at most {MOST_BYTES} bytes, {size} are announced")
            if len(self._bytes) < _HEAD + size:
                return
            text = bytes(self._bytes[_HEAD : _HEAD + size])
            del self._bytes[: _HEAD + size]
            try:
                message = json.loads(text)
            except RecursionError as error:
                raise ValueError("expected flat JSON, got values nested too deeply") from error
            if not isinstance(message, dict):
                raise ValueError(f"expected an object, got {type(message).__name__}")
            yield message
