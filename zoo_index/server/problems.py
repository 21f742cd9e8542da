"""Errors as JSON: problem documents (RFC 9457), in which nothing of the program is told but a sentence."""

from __future__ import annotations

from typing import Any

from transfer.errors import ZooError
from zoo_index.errors import EmptyIndexError, IndexFileError, NothingFoundError, UnknownNameError
from zoo_index.foundation.plain_text import plain

__all__ = ["ProblemError", "problem", "problem_of", "stopping"]

_MOST_DETAIL = 500

_TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}


class ProblemError(Exception):
    """A request that is answered with an error.

    Parameters
    ----------
    status : int
    detail : str
        What was expected, what was found, and what to do.
    headers : dict, optional
    """

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = headers or {}


def problem(status: int, detail: str) -> dict[str, Any]:
    """Return a problem document."""
    title = _TITLES.get(status, "Error")
    return {"type": "about:blank", "title": title, "status": status, "detail": plain(detail, _MOST_DETAIL)}


def problem_of(error: BaseException) -> dict[str, Any]:
    """Return the problem document of an error; of one that nobody expected only that there was one."""
    if isinstance(error, ProblemError):
        return problem(error.status, error.detail)
    if isinstance(error, UnknownNameError | NothingFoundError):
        return problem(404, str(error))
    if isinstance(error, EmptyIndexError | IndexFileError):
        return problem(
            503, "expected an index that can be read, the server has none at the moment; try again later"
        )
    if isinstance(error, ZooError | ValueError):
        return problem(400, str(error))
    return problem(500, "the question could not be answered; the server's log has more")


def stopping() -> ProblemError:
    """Return what those are told who ask a server that ends."""
    return ProblemError(503, "the server ends; ask again when it is back", {"Retry-After": "10"})
