"""Running the server: its socket, its signals, its end."""

from __future__ import annotations

import contextlib
import errno
import logging
import math
import secrets
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import uvicorn

from transfer.errors import InputError
from zoo_index.foundation.plain_text import plain
from zoo_index.server.application import application
from zoo_index.server.connections import protocol_of
from zoo_index.server.guarding import is_loopback, known_hosts
from zoo_index.server.limits import Limits
from zoo_index.server.service import Service
from zoo_index.zoo.zoo import Zoo

__all__ = ["Place", "run"]

_LEAST_TOKEN = 16
"""Characters; shorter ones could be guessed."""


@dataclass(frozen=True)
class Place:
    """Where a server can be reached.

    Parameters
    ----------
    url : str
    token : str
        Empty where none is asked for.
    is_new : bool
        Whether the token was made now, so that somebody has to be told.
    """

    url: str
    token: str
    is_new: bool


class _Server(uvicorn.Server):
    """Says when it is ready, and refuses what waits when it ends."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready
        self._stop = stop

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stop()
        await super().shutdown(sockets)


def run(
    zoo: Zoo,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    token: str = "",
    allowed: Sequence[str] = (),
    limits: Limits | None = None,
    log: Callable[[str], None] | None = None,
    ready: Callable[[Place], None],
) -> None:
    """Serve an index until Ctrl-C or SIGTERM.

    Parameters
    ----------
    zoo : Zoo
    host : str
        Address to listen at; another one than this machine's own needs a token.
    port : int
        0 for any that is free.
    token : str
        Empty for none, or for a new one where one is needed.
    allowed : sequence of str
        Further names that the server goes by.
    limits : Limits, optional
    log : callable, optional
        Told of every request, in a line of plain text.
    ready : callable
        Called when it answers.

    Raises
    ------
    InputError
        If it cannot listen there, or the token is too short.
    """
    limits = limits or Limits()
    if token and (len(token) < _LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token):
        raise InputError(f"expected a token of at least {_LEAST_TOKEN} characters without spaces, got another one")
    is_new = not token and not is_loopback(host)
    token = secrets.token_urlsafe(32) if is_new else token
    with contextlib.closing(_listen(host, port)) as listening:
        shown = f"[{host.strip('[]')}]" if ":" in host else host
        place = Place(f"http://{shown}:{listening.getsockname()[1]}", token, is_new)
        service = Service(zoo, limits)
        app = application(
            service,
            hosts=known_hosts(host, allowed),
            any_address=not is_loopback(host),
            token=token,
            limits=limits,
            log=log,
        )
        config = uvicorn.Config(
            app,
            http=protocol_of(limits),
            ws="none",
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            h11_max_incomplete_event_size=limits.head_bytes,
            timeout_keep_alive=math.ceil(limits.head_seconds),
            timeout_graceful_shutdown=limits.end_seconds,
            lifespan="on",
        )
        logging.getLogger("uvicorn.error").setLevel(
            logging.CRITICAL
        )  # what fails is told by us, without a traceback
        server = _Server(config, lambda: ready(place), service.stop)
        # uvicorn ends in order, then raises the signal once more
        with contextlib.suppress(KeyboardInterrupt, SystemExit):
            server.run(sockets=[listening])
        if service.failure is not None:
            raise service.failure


def _listen(host: str, port: int) -> socket.socket:
    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
        family, kind, proto, _, address = found[0]
        listening = socket.socket(family, kind, proto)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(1024)
        except OSError:
            listening.close()
            raise
    except (OSError, UnicodeError) as error:
        hint = "; take another one with --port" if getattr(error, "errno", 0) == errno.EADDRINUSE else ""
        said = error.strerror if isinstance(error, OSError) else str(error)
        raise InputError(f"expected to listen at {plain(host)!r} port {port}, got: {said}{hint}") from error
    return listening
