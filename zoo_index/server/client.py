"""Asking a server for sources: the architecture is sent, its names and shapes, and nothing else.

Weights, code and paths stay here. A token goes to the address that was named and to no other one: redirections are
not followed.
"""

from __future__ import annotations

import http.client
import json
import math
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from typing import Any
from urllib.parse import SplitResult, urlsplit

from transfer.errors import InputError
from zoo_index.errors import NothingFoundError
from zoo_index.foundation.plain_text import plain
from zoo_index.recommending.answers import Filters, Recommendation, Recommendations
from zoo_index.recommending.resolve import Resolved
from zoo_index.server.uploads import read_json, write_document

__all__ = ["SECONDS", "ServerError", "recommend"]

SECONDS = 60.0
"""For a connection and an answer together."""

_MOST_ANSWER = 16 << 20
"""Bytes."""

_MOST_DETAIL = 300

_MOST_COUNT = 2**53

_MOST_TEXT = 2000
"""Characters."""

_TARGET = ("name", "fingerprint", "params", "layers", "blocks", "single_layers")
"""What is read of the target."""


class ServerError(InputError):
    """A server that cannot be reached, or does not answer as one does."""


def recommend(
    url: str,
    network: Resolved,
    *,
    k: int,
    measure: str,
    filters: Filters,
    token: str = "",
    seconds: float = SECONDS,
) -> Recommendations:
    """Ask a server for the best sources for a network.

    Parameters
    ----------
    url : str
        ``http://host:port`` or ``https://host``, with the path of a proxy if there is one.
    network : Resolved
    k : int
    measure : {'dpiat', 'paper'}
    filters : Filters
    token : str
        Of the server; empty where it asks for none.
    seconds : float

    Returns
    -------
    Recommendations

    Raises
    ------
    ServerError
        If it cannot be reached, refuses, or answers something else.
    NothingFoundError
        If no source passes the filters.
    """
    address = _address(url)
    question = {
        "architecture": write_document(network),
        "k": k,
        "measure": measure,
        "filters": {name: value for name, value in asdict(filters).items() if value not in (None, False)},
    }
    content = json.dumps(question, allow_nan=False, separators=(",", ":")).encode()
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    if token:
        if not token.isascii() or not token.isprintable():
            raise ServerError(
                "expected a token of printable ASCII characters; take the one that the server printed"
            )
        headers["Authorization"] = f"Bearer {token}"
    status, told = _ask(address, url, content, headers, seconds)
    if status == 200:
        return _read(told, url, k)
    raise _refused(status, told, url, bool(token))


def _address(url: str) -> SplitResult:
    try:
        found = urlsplit(url)
        _ = found.port
    except ValueError:
        found = SplitResult("", "", "", "", "")
    if (
        found.scheme not in ("http", "https")
        or not found.hostname
        or found.query
        or found.fragment
        or "@" in found.netloc
        or not all(" " < character < "\x7f" for character in url)
    ):
        raise ServerError(
            f"expected the address of a server such as http://127.0.0.1:8765, in ASCII without blanks, got {url!r}"
        )
    return found


def _ask(
    address: SplitResult, url: str, content: bytes, headers: dict[str, str], seconds: float
) -> tuple[int, bytes]:
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    end = time.monotonic() + seconds
    connection = kind(str(address.hostname), address.port, timeout=seconds)
    try:
        connection.connect()
        with _until(connection.sock, end):
            connection.request("POST", f"{address.path.rstrip('/')}/api/recommend", content, headers)
            answer = connection.getresponse()
            told = answer.read(_MOST_ANSWER + 1)
    except TimeoutError as error:
        raise ServerError(
            f"expected an answer of {url} within {seconds:g} seconds, got none; try again later"
        ) from error
    except ssl.SSLError as error:
        raise ServerError(
            f"expected a server with TLS at {url}, got: {error.reason or error}; check the "
            "address and its certificate"
        ) from error
    except (OSError, http.client.HTTPException, UnicodeError) as error:
        said = getattr(error, "strerror", None) or type(error).__name__
        raise ServerError(
            f"expected a server at {url}, it cannot be reached: {said}; start one there with: zoo serve"
        ) from error
    finally:
        connection.close()
    if len(told) > _MOST_ANSWER:
        raise ServerError(f"expected an answer of at most {_MOST_ANSWER:,} bytes of {url}, got more")
    return answer.status, told


@contextmanager
def _until(peer: socket.socket, end: float) -> Iterator[None]:
    """Cut a connection at a time, however often its peer sends a byte.

    Raises
    ------
    TimeoutError
        If it was cut.
    """
    is_cut = False

    def cut() -> None:
        nonlocal is_cut
        is_cut = True
        with suppress(OSError):
            peer.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(end - time.monotonic(), 0.0), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (OSError, ValueError, http.client.HTTPException):
        if not is_cut:
            raise
    finally:
        timer.cancel()
    if is_cut:
        raise TimeoutError


def _refused(status: int, told: bytes, url: str, has_token: bool) -> Exception:
    try:
        detail = str(json.loads(told)["detail"])
    except (ValueError, KeyError, TypeError, RecursionError):
        detail = ""
    detail = plain(detail, _MOST_DETAIL)
    if status == 401:
        what = "another one" if has_token else "none"
        return ServerError(f"expected the token of {url}, got {what}; give it with --token or ZOO_SERVER_TOKEN")
    if 300 <= status < 400:
        return ServerError(f"expected an answer of {url}, it sends elsewhere; name the address that it has now")
    if status == 404 and detail.startswith("expected "):
        return NothingFoundError(detail)
    if status in (404, 405):
        return ServerError(
            f"expected a zoo server at {url}, got another one, or one that is too old (status {status})"
        )
    if status in (502, 503, 504):
        return ServerError(f"expected an answer of {url}, it has no time (status {status}); try again in a minute")
    return ServerError(
        f"expected an answer of {url}, it refused with status {status}: {detail or 'no reason given'}"
    )


def _read(told: bytes, url: str, k: int) -> Recommendations:
    """Read an answer; what a newer server tells beside is left out."""
    try:
        values = read_json(told)
        names = {field.name for field in fields(Recommendation)}
        results = tuple(
            Recommendation(**{name: value for name, value in result.items() if name in names})
            for result in values["results"]
        )
        answer = Recommendations(
            target={name: values["target"][name] for name in _TARGET},
            measure=values["measure"],
            results=results,
            n_considered=values["n_considered"],
            n_scored=values["n_scored"],
            seconds=values["seconds"],
        )
        _check(answer, k)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ServerError(
            f"expected an answer of {url} as this version reads it, got another one; use the same version of zoo "
            "on both sides"
        ) from error
    return answer


def _check(answer: Recommendations, k: int) -> None:
    """Refuse values that no answer has, before anything prints them."""
    counts: list[Any] = [answer.n_considered, answer.n_scored]
    counts += [answer.target[name] for name in _TARGET if name not in ("name", "fingerprint")]
    texts: list[Any] = [answer.measure, answer.target["name"], answer.target["fingerprint"]]
    shares: list[Any] = []
    numbers: list[Any] = [answer.seconds]
    for one in answer.results:
        counts += [one.params, one.n_classes, one.n_weights]
        texts += [one.name, one.architecture, one.family, one.catalogue, one.input_size, one.evidence]
        texts += [value for value in (one.license, one.benefit) if value is not None]
        shares += [one.similarity, one.coverage]
        shares += [value for value in (one.paper_similarity,) if value is not None]
        numbers += [value for value in (one.top1,) if value is not None]
    ranks: list[Any] = [one.rank for one in answer.results]
    if not (
        len(ranks) <= k
        and all(type(value) is int for value in ranks)
        and ranks == list(range(1, len(ranks) + 1))
        and all(type(value) is int and 0 <= value <= _MOST_COUNT for value in counts)
        and all(type(value) is str and len(value) <= _MOST_TEXT for value in texts)
        and all(type(value) in (int, float) and 0 <= value <= 1 for value in shares)
        and all(type(value) in (int, float) and math.isfinite(value) and value >= 0 for value in numbers)
        and all(type(one.available) is bool for one in answer.results)
        and all(one.benefit in (None, "strong", "some", "none", "likely to hurt") for one in answer.results)
    ):
        raise ValueError("values that no answer has")
