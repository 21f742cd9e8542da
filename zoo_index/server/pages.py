"""The pages for people, by their path. They hold no data: their scripts ask for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from zoo_index.reports.html import map as pages
from zoo_index.server.api import ENDPOINTS
from zoo_index.server.openapi import openapi

__all__ = ["page_routes"]

_PAGES: dict[str, Callable[[], str]] = {
    "/": pages.map_shell,
    "/architecture/{name:path}": pages.architecture_shell,
    "/recommend": pages.recommend_shell,
    "/api": lambda: pages.interface_page(openapi(ENDPOINTS)),
}

_POLICY = re.compile(r'http-equiv="Content-Security-Policy" content="([^"]*)"')


def page_routes() -> Iterator[BaseRoute]:
    """Make every page, and say under which path it is shown."""
    for path, make in _PAGES.items():
        yield _route(path, make())
        if path[1:].isalpha():
            yield _without_slash(f"{path}/")


def _route(path: str, text: str) -> BaseRoute:
    async def shown(request: Request) -> Response:
        return _response(text)

    return Route(path, shown, methods=["GET"])


def _without_slash(path: str) -> BaseRoute:
    """Send to a page from its path with a slash."""
    address = f"..{path.rstrip('/')}"  # relative, since a proxy may have put the pages below a path of its own

    async def sent(request: Request) -> Response:
        return RedirectResponse(address)

    return Route(path, sent, methods=["GET"])


def _response(text: str, status: int = 200) -> Response:
    policy = _POLICY.search(text)
    assert policy is not None
    headers = {
        "content-security-policy": f"{policy[1]}; frame-ancestors 'none'",
        "cache-control": "no-cache",
    }
    return HTMLResponse(text, status, headers=headers)
