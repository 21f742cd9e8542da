"""The pages for people, by their path, and one for paths that have none.

They hold no data: their scripts ask for it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import lru_cache

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from zoo_index.reports.html import map as pages
from zoo_index.server.api import ENDPOINTS
from zoo_index.server.openapi import openapi

__all__ = ["missing_page", "page_routes", "wants_page"]

_PAGES: dict[str, Callable[[], str]] = {
    "/": pages.map_shell,
    "/architecture/{name:path}": pages.architecture_shell,
    "/recommend": pages.recommend_shell,
    "/api": lambda: pages.interface_page(openapi(ENDPOINTS)),
}

_MOST_UP = 20
"""Levels of a path from which links lead back."""

_POLICY = re.compile(r'http-equiv="Content-Security-Policy" content="([^"]*)"')


def page_routes() -> Iterator[BaseRoute]:
    """Make every page, and say under which path it is shown."""
    for path, make in _PAGES.items():
        yield _route(path, make())
        if path[1:].isalpha():
            yield _without_slash(f"{path}/")


def _route(path: str, text: str) -> BaseRoute:
    async def shown(request: Request) -> Response:
        if request.path_params.get("name") == "":
            raise HTTPException(404)
        return _response(text)

    return Route(path, shown, methods=["GET"])


def _without_slash(path: str) -> BaseRoute:
    """Send to a page from its path with a slash; the query goes along."""
    address = f"..{path.rstrip('/')}"  # relative, since a proxy may have put the pages below a path of its own

    async def sent(request: Request) -> Response:
        query = request.scope["query_string"].decode(errors="replace")  # the response escapes it
        return RedirectResponse(f"{address}?{query}" if query else address)

    return Route(path, sent, methods=["GET"])


def wants_page(request: Request) -> bool:
    """Whether somebody with a browser asked for something else than data."""
    return (
        request.method == "GET"
        and not request.url.path.startswith("/api/")
        and "text/html" in request.headers.get("accept", "")
    )


def missing_page(request: Request) -> Response:
    """Return the page for a path that has none."""
    n_up = bytes(request.scope["raw_path"]).count(b"/") - 1
    return _response(_missing(min(n_up, _MOST_UP)), 404)


@lru_cache(maxsize=_MOST_UP + 1)
def _missing(n_up: int) -> str:
    return pages.missing_page("../" * n_up)


def _response(text: str, status: int = 200) -> Response:
    policy = _POLICY.search(text)
    assert policy is not None
    headers = {
        "content-security-policy": f"{policy[1]}; frame-ancestors 'none'",
        "cache-control": "no-cache",
    }
    return HTMLResponse(text, status, headers=headers)
