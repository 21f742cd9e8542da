"""What went wrong with a server, in words that help, and whether another try may help."""

from __future__ import annotations

import math
import re
import socket
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

__all__ = ["DownloadError", "TemporaryError", "UnreachableError", "describe", "judge", "passing"]

_AGAIN = (408, 425, 429, 500, 502, 503, 504)


class DownloadError(Exception):
    """What went wrong, in words that follow on the name of a server.

    Parameters
    ----------
    reason : str
    advice : str
        What to do.
    status : int
        Of the answer, 0 if that was not what was wrong.
    code : str
        The hub's own word for it.
    """

    def __init__(self, reason: str, advice: str, status: int = 0, code: str = "") -> None:
        super().__init__(reason)
        self.reason, self.advice, self.status, self.code = reason, advice, status, code


class UnreachableError(DownloadError):
    """There is no connection to the server."""


class TemporaryError(Exception):
    """An answer after which it is worth trying again."""

    def __init__(self, error: DownloadError, wait: float) -> None:
        super().__init__(str(error))
        self.error, self.wait = error, wait


def judge(status: int, headers: Any) -> DownloadError | TemporaryError:
    """Say what an answer means that is no success."""
    code, wait = headers.get("X-Error-Code", ""), _asked_wait(headers)
    if status == 429:
        when = f"in {math.ceil(wait)} s" if wait else "later"
        error = DownloadError("limits how often it is asked (HTTP 429)", f"try again {when}", status, code)
    elif status >= 500 or status == 408:
        error = DownloadError(f"is broken at the moment (HTTP {status})", "try again later", status, code)
    elif status in (401, 403) and code != "RepoNotFound":
        error = DownloadError(
            f"grants no access to it (HTTP {status}{', gated' if code == 'GatedRepo' else ''})",
            "ask for access on its page and give a token: hf auth login, or HF_TOKEN",
            status,
            code,
        )
    elif code == "RepoNotFound":
        error = DownloadError(
            f"has no such repository, or a private one (HTTP {status})",
            "check the name, or give a token: hf auth login, or HF_TOKEN",
            status,
            code,
        )
    elif status in (404, 410):
        error = DownloadError(f"has no such file (HTTP {status})", "check the name", status, code)
    else:
        error = DownloadError(f"answered with HTTP {status}", "try again later", status, code)
    return TemporaryError(error, wait) if status in _AGAIN else error


def passing(caught: Exception, done: int) -> tuple[DownloadError, float]:
    """Say what went wrong that may pass, and how long the server asks to wait; what will not pass is raised."""
    if isinstance(caught, TemporaryError):
        return caught.error, caught.wait
    if isinstance(caught, UnreachableError):
        if not done:
            raise caught
        return caught, 0.0  # it was there a moment ago
    if isinstance(caught, TimeoutError):
        return DownloadError(f"fell silent after {done:,} bytes", "try again later"), 0.0
    return DownloadError(f"broke off after {done:,} bytes ({describe(caught)})", "try again"), 0.0


def describe(error: object) -> str:
    """Say in a line what an error of the connection says."""
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split())[:200] or type(error).__name__


def _asked_wait(headers: Any) -> float:
    """Seconds that a server asks to wait, 0 if it does not say."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        rated = re.search(r";\s*t\s*=\s*(\d{1,9})", headers.get("RateLimit", ""))
        return float(rated[1]) if rated else 0.0
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
