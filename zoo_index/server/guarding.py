"""Who may ask, and how much: hosts, tokens, sizes, and the headers that browsers obey.

Host
    A page on the internet can let its name point to this machine, and a browser would then let it read the answers
    (DNS rebinding). So only requests for names that are the server's own are answered.
Token
    Where the server can be reached from other machines, data are only for those who have its token. Pages hold no
    data, so they are for everybody.
Sizes
    Questions are kept in memory until they are answered. So there is a limit to one, to its time, and to all of
    them together. The first 64 kB of each do not count: small questions go on where large ones fill the memory.
Other sites
    No answer may be read by pages of another origin, and what browsers say comes from one is refused.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zoo_index.foundation.plain_text import plain
from zoo_index.server.api import ENDPOINTS, problem_response
from zoo_index.server.limits import Limits
from zoo_index.server.problems import ProblemError, stopping

__all__ = ["Guard", "is_loopback", "known_hosts", "refuse_connection"]

_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
_API_POLICY = "default-src 'none'; frame-ancestors 'none'"
_MOST_LOGGED = 300
_SMALL = 64 << 10
"""Bytes of a question that is always read."""

_OPEN = {endpoint.path for endpoint in ENDPOINTS if endpoint.is_open}
_BODIES = {endpoint.path: endpoint.body for endpoint in ENDPOINTS if endpoint.body}


def is_loopback(host: str) -> bool:
    """Whether an address is only reached from this machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def known_hosts(host: str, allowed: Collection[str]) -> set[str]:
    """Names that a server which listens at an address goes by."""
    found = {"localhost", "127.0.0.1", "::1", host.strip("[]").lower(), *(name.lower() for name in allowed)}
    if not is_loopback(host):
        found |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    return found


class Guard:
    """The outermost layer: lets through what may be asked.

    Parameters
    ----------
    app : ASGI application
    hosts : set of str
        Names of the server, without port.
    any_address : bool
        Whether it also goes by every IP address: no page can have one that is not its own.
    token : str
        Empty where none is asked for.
    limits : Limits
    is_full : callable
        Whether as many questions wait as may.
    log : callable, optional
        Told of every request, in a line of plain text.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: set[str],
        any_address: bool,
        token: str,
        limits: Limits,
        is_full: Callable[[], bool],
        log: Callable[[str], None] | None = None,
    ) -> None:
        self._log = log
        self._app = app
        self._hosts = hosts
        self._any_address = any_address
        self._token = token
        self._limits = limits
        self._is_full = is_full
        self._n_pending_bytes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        is_api = scope["path"].startswith("/api/")

        is_started = False

        async def guarded(message: Message) -> None:
            nonlocal is_started
            if message["type"] == "http.response.start":
                is_started = True
                if self._log is not None:
                    client = scope.get("client") or ("-", 0)
                    asked = plain(f"{scope['method']} {scope['path']}", _MOST_LOGGED)
                    self._log(f"{client[0]} {asked} {message['status']}")
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                if is_api:
                    headers["content-security-policy"] = _API_POLICY
                    headers["cache-control"] = "no-store"
            await send(message)

        counted = _Counted()
        try:
            self._check(scope)
            await self._answer(scope, receive, guarded, counted)
        except ProblemError as error:
            await problem_response(error)(scope, receive, guarded)
        except asyncio.CancelledError:  # the server ends, and has waited as long as it does
            if is_started:
                raise
            await problem_response(stopping())(scope, receive, guarded)
        finally:
            self._n_pending_bytes -= counted.n

    async def _answer(self, scope: Scope, receive: Receive, send: Send, counted: _Counted) -> None:
        body = await self._body(scope, receive, counted)

        async def given() -> Message:
            nonlocal body
            if body is None:
                return await receive()
            message: Message = {"type": "http.request", "body": body, "more_body": False}
            body = None
            return message

        await self._app(scope, given, send)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        head = sum(len(name) + len(value) for name, value in headers.raw)
        if head + len(scope["raw_path"]) + len(scope["query_string"]) > self._limits.head_bytes:
            raise ProblemError(431, f"expected an address and headers of at most {self._limits.head_bytes:,} bytes")
        named = headers.getlist("host")
        if len(named) != 1 or not self._is_known(named[0]):
            raise ProblemError(
                421,
                "expected a request for a name of this server, got another one; whoever runs it can add it: "
                "zoo serve --allow-host NAME",
            )
        path = scope["path"]
        if not path.startswith("/api/"):
            return
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise ProblemError(403, "expected a request of the server's own pages, got one of another site")
        if self._token and path not in _OPEN:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            right = hmac.compare_digest(given.strip().encode(), self._token.encode())
            if scheme.lower() != "bearer" or not right:
                raise ProblemError(
                    401,
                    "expected the token of this server in the header 'Authorization: Bearer TOKEN'",
                    {"WWW-Authenticate": "Bearer"},
                )
        wanted = _BODIES.get(path)
        if scope["method"] == "POST" and wanted is not None:
            kind = headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind != wanted:
                raise ProblemError(415, f"expected the content type {wanted!r}, got {kind!r}")

    def _is_known(self, named: str) -> bool:
        name = named.strip().lower()
        if name.startswith("["):
            name = name[1:].partition("]")[0]
        else:
            name = name.rpartition(":")[0] if ":" in name else name
        if name.rstrip(".") in self._hosts:
            return True
        if not self._any_address:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    async def _body(self, scope: Scope, receive: Receive, counted: _Counted) -> bytes | None:
        """Read what is sent, as much as is taken, while there is time and memory."""
        headers = Headers(scope=scope)
        most = self._limits.body_bytes if scope["path"] in _BODIES else 0
        told = headers.get("content-length", "0")
        if (told.isascii() and told.isdigit() and len(told) < 20 and int(told) > most) or len(told) >= 20:
            raise ProblemError(413, f"expected at most {most:,} bytes, got {told[:20]}")
        is_small = "transfer-encoding" not in headers and (not told.isdigit() or int(told) <= _SMALL)
        if most and not is_small and self._is_full():
            raise _no_room()
        pieces: list[bytes] = []
        n = 0
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    piece = message.get("body", b"")
                    n += len(piece)
                    if n > most:
                        raise ProblemError(413, f"expected at most {most:,} bytes, got more")
                    new = max(n - _SMALL, 0) - counted.n
                    if self._n_pending_bytes + new > self._limits.pending_bytes:
                        raise _no_room()
                    self._n_pending_bytes += new
                    counted.n += new
                    pieces.append(piece)
                    if not message.get("more_body"):
                        return b"".join(pieces)
        except TimeoutError:
            raise ProblemError(408, "expected the whole request sooner", {"Connection": "close"}) from None


@dataclass
class _Counted:
    """Bytes of one question that count."""

    n: int = 0


def _no_room() -> ProblemError:
    return ProblemError(
        503,
        "too many large questions at a time; ask again in a few seconds",
        {"Retry-After": "5", "Connection": "close"},
    )


async def refuse_connection(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer on a connection that is one too many."""
    detail = "too many connections at a time; close some, or ask again in a few seconds"
    error = ProblemError(503, detail, {"Retry-After": "10", "Connection": "close"})
    await problem_response(error)(scope, receive, send)
