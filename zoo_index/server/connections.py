"""Connections to the server: how many, how many of one peer, and how long one may say nothing.

A connection costs little, but there are only so many. So whoever opens one has to send the head of a request soon,
also after an answer, and has to read what is answered. Where there are too many connections, a request gets 503.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from zoo_index.server.guarding import refuse_connection
from zoo_index.server.limits import Limits

__all__ = ["protocol_of"]

_SPARE = 64
"""Connections above the limit that are still told why they are refused; any more are closed at once."""

_CLOSE_SECONDS = 5.0
"""For a peer to read what was written before its connection was closed."""


def protocol_of(limits: Limits) -> type[asyncio.Protocol]:
    """Return the class of connections with some limits.

    Parameters
    ----------
    limits : Limits
    """
    of_peer: Counter[str] = Counter()

    class Protocol(_Protocol):
        _limits = limits
        _of_peer = of_peer

    return Protocol


class _Protocol(H11Protocol):
    """A connection that is closed when no whole head of a request comes, or nobody reads the answer."""

    _limits: Limits
    _of_peer: Counter[str]
    _timer: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None
    _ending: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, or tell it that there are too many."""
        super().connection_made(transport)
        self._peer = self.client[0] if self.client else ""
        self._of_peer[self._peer] += 1
        n, most = len(self.connections), self._limits.connections
        if n > most + _SPARE:
            transport.abort()
        elif n > most or self._of_peer[self._peer] > self._limits.peer_connections:
            self.app = refuse_connection
        self._timer = self.loop.call_later(self._limits.head_seconds, self._end)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget a connection."""
        super().connection_lost(exc)
        self._of_peer[self._peer] -= 1
        if not self._of_peer[self._peer]:
            del self._of_peer[self._peer]
        for timer in (self._timer, self._writing, self._ending):
            if timer is not None:
                timer.cancel()

    def handle_events(self) -> None:
        """Read what came; from here on the next head, or the whole of this one, has to come in time."""
        super().handle_events()
        is_awaited = self.cycle is None or self.cycle.response_complete
        if is_awaited and self._timer is None:
            self._timer = self.loop.call_later(self._limits.head_seconds, self._end)
        elif not is_awaited and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the rest of a question that was refused before its end."""
        super().on_response_complete()
        if self._timer is None and self.cycle.response_complete:
            self._timer = self.loop.call_later(self._limits.head_seconds, self._end)

    def pause_writing(self) -> None:
        """Wait for a peer that does not read what it is sent, but not for ever."""
        super().pause_writing()
        if self._writing is None:
            self._writing = self.loop.call_later(self._limits.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on writing."""
        super().resume_writing()
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def _end(self) -> None:
        self._timer = None
        self.transport.close()
        self._ending = self.loop.call_later(_CLOSE_SECONDS, self.transport.abort)

    def timeout_keep_alive_handler(self) -> Any:
        """Close a connection that was quiet after an answer."""
        self._end()
