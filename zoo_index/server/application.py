"""The server as an ASGI application: pages for people, and the JSON interface."""

from __future__ import annotations

import re
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from zoo_index.foundation.logs import LOGGER
from zoo_index.reports.html import map as pages
from zoo_index.server.api import ENDPOINTS, Endpoint, problem_response
from zoo_index.server.guarding import Guard
from zoo_index.server.limits import Limits
from zoo_index.server.openapi import openapi
from zoo_index.server.parameters import read
from zoo_index.server.problems import ProblemError
from zoo_index.server.service import Service

__all__ = ["application"]


def application(
    service: Service,
    *,
    hosts: set[str],
    any_address: bool,
    token: str,
    limits: Limits,
    log: Callable[[str], None] | None = None,
) -> ASGIApp:
    """Put the server together.

    Parameters
    ----------
    service : Service
    hosts, any_address, token, limits, log
        As for `Guard`.
    """

    @asynccontextmanager
    async def living(app: Starlette) -> AsyncIterator[None]:
        try:
            await service.start()
            yield
        finally:
            await service.end()

    app = Starlette(
        routes=[*map(_page, _PAGES.items()), *(_route(service, endpoint) for endpoint in ENDPOINTS)],
        lifespan=living,
        exception_handlers={ProblemError: _told, HTTPException: _told, Exception: _told},
    )
    return Guard(
        app, hosts=hosts, any_address=any_address, token=token, limits=limits, is_full=service.is_full, log=log
    )


_PAGES: dict[str, Callable[[], str]] = {
    "/": pages.map_shell,
    "/architecture/{name:path}": pages.architecture_shell,
    "/recommend": pages.recommend_shell,
    "/api": lambda: pages.interface_page(openapi(ENDPOINTS)),
}
"""Pages by their path. They hold no data: their scripts ask for it."""

_POLICY = re.compile(r'http-equiv="Content-Security-Policy" content="([^"]*)"')


def _page(page: tuple[str, Callable[[], str]]) -> BaseRoute:
    path, make = page
    text = make()
    policy = _POLICY.search(text)
    assert policy is not None
    headers = {
        "content-security-policy": f"{policy[1]}; frame-ancestors 'none'",
        "cache-control": "no-cache",
    }

    async def shown(request: Request) -> Response:
        return HTMLResponse(text, headers=headers)

    return Route(path, shown, methods=["GET"])


def _route(service: Service, endpoint: Endpoint) -> BaseRoute:
    async def answered(request: Request) -> Response:
        values = read(request.query_params.multi_items(), endpoint.parameters)
        return await endpoint.handler(service, request, values)

    return Route(endpoint.path.replace("{name}", "{name:path}"), answered, methods=[endpoint.method])


async def _told(request: Request, error: Exception) -> Response:
    """Answer with an error."""
    if isinstance(error, ProblemError):
        return problem_response(error)
    if isinstance(error, HTTPException):
        headers = dict(error.headers or {})
        detail = {404: "there is no such page; see /api", 405: "expected another method"}
        return problem_response(ProblemError(error.status_code, detail.get(error.status_code, "refused"), headers))
    told = "".join(traceback.format_exception(error)[-3:])
    LOGGER.error("a request failed: %s", told)
    return problem_response(ProblemError(500, "the question could not be answered; the server's log has more"))
