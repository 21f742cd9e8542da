"""The server as an ASGI application: pages for people, and the JSON interface."""

from __future__ import annotations

import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from zoo_index.foundation.logs import LOGGER
from zoo_index.server.api import ENDPOINTS, problem_response
from zoo_index.server.endpoints import Endpoint
from zoo_index.server.guarding import Guard
from zoo_index.server.limits import Limits
from zoo_index.server.pages import missing_page, page_routes, wants_page
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
        routes=[*page_routes(), *(_route(service, endpoint) for endpoint in ENDPOINTS)],
        lifespan=living,
        exception_handlers={ProblemError: _told, HTTPException: _told, Exception: _told},
    )
    app.router.redirect_slashes = False  # it would send to addresses that a proxy may have under another path
    return Guard(
        app, hosts=hosts, any_address=any_address, token=token, limits=limits, is_full=service.is_full, log=log
    )


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
        if error.status_code == 404 and wants_page(request):
            return missing_page(request)
        detail = {404: "there is no such page; see /api", 405: "expected another method"}
        return problem_response(ProblemError(error.status_code, detail.get(error.status_code, "refused"), headers))
    told = "".join(traceback.format_exception(error)[-3:])
    LOGGER.error("a request failed: %s", told)
    return problem_response(ProblemError(500, "the question could not be answered; the server's log has more"))
