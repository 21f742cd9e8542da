"""Who may ask, and how much: hosts, tokens, sizes, and the headers that browsers obey.

Host
    A page on the internet can let its name point to this machine, and a browser would then let it read the answers
    (DNS rebinding). So only requests for names that are the server's own are answered.
Token
    Where the server can be reached from other machines, data are only for those who have its token. Pages hold no
    data, so they are for everybody.
Other sites
    No answer may be read by pages of another origin, and what browsers say comes from one is refused.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import socket
from collections.abc import Callable, Collection

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from zoo_index.foundation.plain_text import plain
from zoo_index.server.api import ENDPOINTS, problem_response
from zoo_index.server.limits import Limits
from zoo_index.server.problems import ProblemError

__all__ = ["Guard", "is_loopback", "known_hosts"]

_HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
_API_POLICY = "default-src 'none'; frame-ancestors 'none'"
_MOST_LOGGED = 300
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
        log: Callable[[str], None] | None = None,
    ) -> None:
        self._log = log
        self._app = app
        self._hosts = hosts
        self._any_address = any_address
        self._token = token
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        is_api = scope["path"].startswith("/api/")

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
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

        try:
            self._check(scope)
            body = await self._body(scope, receive)
        except ProblemError as error:
            await problem_response(error)(scope, receive, guarded)
            return

        async def given() -> Message:
            nonlocal body
            if body is None:
                return await receive()
            message: Message = {"type": "http.request", "body": body, "more_body": False}
            body = None
            return message

        await self._app(scope, given, guarded)

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

    async def _body(self, scope: Scope, receive: Receive) -> bytes | None:
        """Read what is sent, as much as is taken, while there is time."""
        headers = Headers(scope=scope)
        most = self._limits.body_bytes if scope["path"] in _BODIES else 0
        told = headers.get("content-length", "0")
        if (told.isascii() and told.isdigit() and len(told) < 20 and int(told) > most) or len(told) >= 20:
            raise ProblemError(413, f"expected at most {most:,} bytes, got {told[:20]}")
        found = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    found += message.get("body", b"")
                    if len(found) > most:
                        raise ProblemError(413, f"expected at most {most:,} bytes, got more")
                    if not message.get("more_body"):
                        return bytes(found)
        except TimeoutError:
            raise ProblemError(408, "expected the whole request sooner", {"Connection": "close"}) from None
