"""One weights file over HTTP: few and short retries, and nothing kept but weights.

A server that cannot be reached is known after two seconds. A download that breaks off goes on from where it was.
"""

from __future__ import annotations

import http.client
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from transfer.weights.files import replacing
from transfer.weights.inspection import is_weights, starts_like_weights
from zoo_index.hub.connecting import UnsafeRedirectError, make_opener
from zoo_index.hub.failures import DownloadError, TemporaryError, UnreachableError, describe, judge, passing

__all__ = ["Headers", "download", "fetch_part", "fetch_whole"]

Headers = Mapping[str, str]
"""Headers of the answers, names in lower case; of several, as after a redirect, the first that has one counts."""

_READ_SECONDS = 10.0
_TRIES = 3
_PAUSES = (0.5, 1.0)
"""Seconds before the second and the third try."""

_LONGEST_WAIT = 5
"""Seconds that a server may ask for and get."""

_ENOUGH = 16 << 20
"""Bytes after which a download that breaks off has not failed, but goes on."""

_FIRST, _PIECE = 1 << 12, 1 << 18
_SLOWEST, _PATIENCE = 1000, 30.0
"""Bytes per second that are little more than nothing, and seconds after which that counts as a stall."""


def download(
    url: str,
    place: Callable[[Headers], Path],
    *,
    token: str | None = None,
    seconds: float = _READ_SECONDS,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Download a weights file to a temporary one, look at it, and put it in its place.

    Parameters
    ----------
    url : str
        ``http`` or ``https``; from the latter no redirect leads to the former.
    place : callable
        Returns where the file goes, in an existing folder, given the headers of the answers.
    token : str, optional
        Shown to the server of the address only.
    seconds : float
        How long the server may be silent.
    progress : callable, optional
        Called with the bytes that are there and the bytes to come in all, where they are known.

    Returns
    -------
    Path
        What `place` returned. Whatever stood there is replaced.

    Raises
    ------
    UnreachableError
        If there is no connection.
    DownloadError
        If the server refuses, breaks off for good, or sends something else.
    OSError
        If the file cannot be written.
    """
    source = _Source(url, token, seconds)
    pieces = source.pieces()
    first = next(pieces, (0, b""))
    if not starts_like_weights(first[1]):
        raise _no_weights(first[1], source.headers)
    with replacing(place(source.headers)) as temporary:
        with temporary.open("rb+") as file:
            for position, piece in _chain(first, pieces):
                file.seek(position)
                file.write(piece)
                if progress and source.size:
                    progress(position + len(piece), source.size)
            file.truncate()
        if not is_weights(temporary):
            raise DownloadError("sent a file that is cut off or no weights file", "try again later")
        return place(source.headers)


def fetch_part(
    url: str, start: int, stop: int, *, token: str | None = None, seconds: float = _READ_SECONDS
) -> tuple[bytes, int | None]:
    """Fetch some bytes of a file.

    Parameters
    ----------
    url, token, seconds
        As for `download`.
    start, stop : int
        Fewer are returned where the file ends before.

    Returns
    -------
    bytes
    int or None
        Size of the whole file, where the server tells it.

    Raises
    ------
    UnreachableError, DownloadError
        As `download`.
    """
    source = _Source(url, token, seconds)
    return source.part(start, stop), source.size


def fetch_whole(
    url: str, most: int, *, token: str | None = None, seconds: float = _READ_SECONDS
) -> tuple[bytes, Headers]:
    """Fetch a small file.

    Parameters
    ----------
    url, token, seconds
        As for `download`.
    most : int
        Bytes that it may have.

    Returns
    -------
    bytes
    Headers

    Raises
    ------
    UnreachableError, DownloadError
        As `download`; also if it is larger.
    """
    source = _Source(url, token, seconds)
    data = source.part(0, None, most)
    return data, source.headers


def _chain(first: tuple[int, bytes], rest: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    yield first
    yield from rest


def _no_weights(start: bytes, headers: Headers) -> DownloadError:
    if "html" in headers.get("content-type", "") or start.lstrip().startswith(b"<"):
        return DownloadError(
            "answered with a web page where weights were expected",
            "see in a browser whether this network wants a login first, or which mirror HF_ENDPOINT names",
        )
    return DownloadError(f"sent no weights file, it starts with {start[:16]!r}", "try again later")


class _Source:
    """A file of a server, read in pieces."""

    def __init__(self, url: str, token: str | None, seconds: float) -> None:
        self.headers: dict[str, str] = {}
        self.size: int | None = None
        self._request = urllib.request.Request(url, headers={"Accept-Encoding": "identity", "User-Agent": "zoo"})
        if token:
            self._request.add_unredirected_header("Authorization", f"Bearer {token}")
        self._seconds = seconds
        self._etag = ""
        self._opener = make_opener(self._note)

    def pieces(self) -> Iterator[tuple[int, bytes]]:
        """Yield positions and bytes; a server that cannot go on from the middle starts at 0 again."""
        done = failures = 0
        while True:
            begun, wait = done, 0.0
            try:
                with closing(self._open(done)) as response:
                    done = begun = done if response.status == 206 else 0
                    for piece in _read(response):
                        yield done, piece
                        done += len(piece)
                if self.size is None or done == self.size:
                    return
                error = DownloadError(f"broke off after {done:,} of {self.size:,} bytes", "try again")
            except (TemporaryError, UnreachableError, OSError, http.client.HTTPException) as caught:
                error, wait = passing(caught, done)
            failures = 1 if done - begun > _ENOUGH else failures + 1
            _pause(failures, error, wait)

    def part(self, start: int, stop: int | None, most: int = 0) -> bytes:
        """Return bytes from `start` to `stop`, or all, of which there may be `most`."""
        failures = 0
        while True:
            data = b""
            try:
                with closing(self._open(start, stop)) as response:
                    skipped = start if response.status != 206 else 0  # the server knows of no parts
                    wanted = (most + 1 if stop is None else stop - start) + skipped
                    while len(data) < wanted and (piece := response.read1(min(_PIECE, wanted - len(data)))):
                        data += piece
                ended = self.size is not None and start + len(data) - skipped >= self.size
                if stop is None and len(data) > most:
                    raise DownloadError(f"sent more than the {most:,} bytes that such a file may have", "check it")
                if ended or len(data) == wanted or self.size is None:
                    return data[skipped:]
                error, wait = DownloadError(f"broke off after {len(data):,} bytes", "try again"), 0.0
            except (TemporaryError, UnreachableError, OSError, http.client.HTTPException) as caught:
                error, wait = passing(caught, len(data))
            failures += 1
            _pause(failures, error, wait)

    def _open(self, done: int, stop: int | None = None) -> http.client.HTTPResponse:
        if stop is not None:
            self._request.add_header("Range", f"bytes={done}-{stop - 1}")
        elif done and self._etag.startswith('"'):  # else nothing says that it still is the same file
            self._request.add_header("Range", f"bytes={done}-")
            self._request.add_header("If-Range", self._etag)
        try:
            response: http.client.HTTPResponse = self._opener.open(self._request, timeout=self._seconds)
        except urllib.error.HTTPError as error:
            with closing(error):
                raise judge(error.code, error.headers) from error
        except urllib.error.URLError as error:
            raise UnreachableError(
                f"cannot be reached ({describe(error.reason)})", "connect to the network"
            ) from error
        except UnsafeRedirectError as error:
            raise DownloadError(
                f"leads to {error.url!r}, which is no https address", "check this network"
            ) from error
        except ValueError as error:  # an address with characters that none can have
            raise DownloadError(f"has an address that is none ({error})", "check the address") from error
        self._note(response.headers)
        self._etag = response.headers.get("ETag", "")
        length = response.headers.get("Content-Length", "")
        whole = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
        if response.status == 206 and (whole is None or int(whole[1]) != done):
            response.close()
            raise DownloadError("sent another part of the file than was asked for", "try again", 206)
        size = whole[2] if response.status == 206 and whole else length
        self.size = int(size) if size.isascii() and size.isdecimal() else None
        return response

    def _note(self, headers: Any) -> None:
        for name, value in headers.items():
            self.headers.setdefault(name.lower(), value)


def _pause(failures: int, error: DownloadError, wait: float) -> None:
    """Wait before the next try; raise the error if there is none."""
    if failures == _TRIES or wait > _LONGEST_WAIT:
        raise error
    time.sleep(max(wait, _PAUSES[failures - 1]))


def _read(response: http.client.HTTPResponse) -> Iterator[bytes]:
    started, n_bytes, piece = time.monotonic(), 0, response.read(_FIRST)
    while piece:
        yield piece
        n_bytes += len(piece)
        passed = time.monotonic() - started
        if passed > _PATIENCE and n_bytes < _SLOWEST * passed:
            raise TimeoutError
        piece = response.read1(_PIECE)
