"""Connections for downloads: there within two seconds or not at all, and never led out of https."""

from __future__ import annotations

import http.client
import queue
import socket
import threading
import urllib.request
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

__all__ = ["UnsafeRedirectError", "make_opener"]

_CONNECT_SECONDS = 2.0


class UnsafeRedirectError(Exception):
    """A redirect out of https.

    Parameters
    ----------
    url : str
        Where it leads.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


def make_opener(note: Callable[[Any], None]) -> urllib.request.OpenerDirector:
    """Make what opens addresses; its time limit counts from when a connection is there.

    Parameters
    ----------
    note : callable
        Called with the headers of each redirect that is followed.
    """
    return urllib.request.build_opener(_Http, _Https, _Redirect(note))


class _Redirect(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but not out of https."""

    max_redirections = 5

    def __init__(self, note: Callable[[Any], None]) -> None:
        self._note = note

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        self._note(headers)
        schemes = ("https",) if urlsplit(req.full_url).scheme == "https" else ("http", "https")
        if urlsplit(newurl).scheme not in schemes:
            raise UnsafeRedirectError(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_bounded(http.client.HTTPConnection), req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_bounded(http.client.HTTPSConnection), req)


def _bounded(kind: type[http.client.HTTPConnection]) -> Any:
    """Make connections of a kind that are there within two seconds or not at all."""

    def make(host: str, **options: Any) -> http.client.HTTPConnection:
        made = kind(host, **options)
        made._create_connection = _connect  # type: ignore[attr-defined]
        return made

    return make


def _connect(address: tuple[str, int], timeout: float, source_address: Any = None) -> socket.socket:
    """Look up a name and connect in two seconds: the look-up has no limit of its own, and a name many addresses."""
    made: queue.SimpleQueue[socket.socket | OSError] = queue.SimpleQueue()

    def work() -> None:
        try:
            made.put(socket.create_connection(address, _CONNECT_SECONDS, source_address))
        except OSError as error:
            made.put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        found = made.get(timeout=_CONNECT_SECONDS)
    except queue.Empty:
        found = TimeoutError()
    if isinstance(found, TimeoutError):  # whichever of the two limits came first
        raise TimeoutError(f"no answer within {_CONNECT_SECONDS:g} s")
    if isinstance(found, OSError):
        raise found
    found.settimeout(timeout)
    return found
