"""What users ask a hub for: a query as text, and the repositories that answer it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from transfer.errors import InputError
from transfer.weights.formats.safetensors_file import DTYPES
from transfer.weights.stored import ITEM_SIZES
from zoo_index.hub import library
from zoo_index.hub.downloading import fetch_whole
from zoo_index.hub.failures import DownloadError

__all__ = ["Query", "Repository", "parse_query", "repositories"]

_KEYS = {
    "author": ("author", "{}"),
    "library": ("filter", "{}"),
    "task": ("pipeline_tag", "{}"),
    "dataset": ("filter", "dataset:{}"),
    "license": ("filter", "license:{}"),
    "search": ("search", "{}"),
    "sort": ("sort", "{}"),
}
"""What may be asked for, and how it is asked of the hub (https://huggingface.co/docs/hub/api)."""

_EXPANDED = ("sha", "downloads", "tags", "pipeline_tag", "library_name", "safetensors", "siblings", "gated")
_PAGE = 500
_MOST = 20_000
"""Repositories of a query."""

_MOST_BYTES = 64 << 20
"""Of one answer."""

_REPOSITORY = re.compile(r"(\w[\w.-]*/)?\w[\w.-]*")


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for.

    Parameters
    ----------
    terms : dict of str to str
        By the words that users write.
    limit : int
    names : tuple of str
        Repositories that are named one by one.
    """

    terms: Mapping[str, str]
    limit: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository of weights, as the hub lists it.

    Parameters
    ----------
    name : str
    commit : str
    files : tuple of str
    tags : tuple of str
    task, library : str or None
    downloads : int or None
    n_bytes : int or None
        Of the weights.
    """

    name: str
    commit: str
    files: tuple[str, ...]
    tags: tuple[str, ...]
    task: str | None
    library: str | None
    downloads: int | None
    n_bytes: int | None

    def tagged(self, kind: str) -> str | None:
        """Return the first tag of a kind, e.g. ``license``."""
        return next((tag.partition(":")[2] for tag in self.tags if tag.startswith(f"{kind}:")), None)


def parse_query(text: str) -> Query:
    """Read a query.

    Parameters
    ----------
    text : str
        ``author=timm,task=image-classification,limit=200``, or names of repositories: ``org/a,org/b``; or both.

    Raises
    ------
    InputError
        If it is none.
    """
    terms: dict[str, str] = {}
    names = []
    limit = 1000
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, sign, value = (piece.strip() for piece in part.partition("="))
        if not sign and _REPOSITORY.fullmatch(part):
            names.append(part)
        elif key == "limit" and value.isdecimal() and 1 <= int(value) <= _MOST:
            limit = int(value)
        elif sign and key in _KEYS and value:
            terms[key] = value
        else:
            raise InputError(
                f"expected a query of a hub such as author=timm,task=image-classification,limit=200 (also "
                f"{', '.join(_KEYS)}), or names of repositories, got {part!r}"
            )
    if not terms and not names:
        raise InputError("expected a query of a hub, got nothing; e.g. author=timm,limit=200")
    return Query(terms, limit, tuple(names))


def repositories(query: Query) -> Iterator[Repository]:
    """Ask the hub which repositories answer a query, those that are named first.

    Raises
    ------
    DownloadError
        If the hub cannot be reached, or refuses.
    """
    models = f"{library.endpoint()}/api/models"
    expanded = [("expand[]", key) for key in _EXPANDED]
    for name in query.names:
        yield _repository(_get(f"{models}/{quote(name)}?{urlencode(expanded)}")[0])
    if not query.terms:
        return
    asked = [(_KEYS[key][0], _KEYS[key][1].format(value)) for key, value in query.terms.items()]
    url = f"{models}?{urlencode([*asked, ('limit', min(_PAGE, query.limit)), *expanded])}"
    left = query.limit
    while url and left > 0:
        page, headers = _get(url)
        if not isinstance(page, list):
            raise DownloadError(
                "answered with something else than a list of models", "check what HF_ENDPOINT names"
            )
        for one in page[:left]:
            yield _repository(one)
        left -= len(page)
        url = _next_page(headers, library.endpoint())


def _get(url: str) -> tuple[Any, Mapping[str, str]]:
    if library.is_offline():
        raise DownloadError("is not asked, since HF_HUB_OFFLINE is set", "unset it")
    data, headers = fetch_whole(url, _MOST_BYTES, token=library.token(), seconds=library.patience())
    try:
        return json.loads(data), headers
    except (ValueError, RecursionError) as error:
        raise DownloadError(
            "answered with something else than JSON", "check this network, and what HF_ENDPOINT names"
        ) from error


def _next_page(headers: Mapping[str, str], endpoint: str) -> str:
    """Return the address of the next page, which must be of the same server."""
    found = re.search(r'<([^>]+)>\s*;\s*rel="?next"?', headers.get("link", ""))
    return found[1] if found and found[1].startswith(endpoint) else ""


def _repository(told: Any) -> Repository:
    match told:
        case {"id": str(name), "sha": str(commit)} if _REPOSITORY.fullmatch(name) and re.fullmatch(
            r"\w{7,64}", commit
        ):
            pass
        case _:
            raise DownloadError("answered with something else than a model", "check what HF_ENDPOINT names")
    files = [one.get("rfilename") for one in _list(told, "siblings") if isinstance(one, dict)]
    sizes = told.get("safetensors")
    return Repository(
        name=name,
        commit=commit,
        files=tuple(file for file in files if isinstance(file, str)),
        tags=tuple(tag for tag in _list(told, "tags") if isinstance(tag, str)),
        task=_text(told.get("pipeline_tag")),
        library=_text(told.get("library_name")),
        downloads=told["downloads"] if type(told.get("downloads")) is int else None,
        n_bytes=_n_bytes(sizes.get("parameters") if isinstance(sizes, dict) else None),
    )


def _list(told: Mapping[str, Any], key: str) -> list[Any]:
    found = told.get(key)
    return found if isinstance(found, list) else []


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _n_bytes(parameters: Any) -> int | None:
    """Add up the sizes of parameters, told by element type; None where that is not known."""
    if not isinstance(parameters, dict) or not parameters:
        return None
    if not all(kind in DTYPES and type(n) is int for kind, n in parameters.items()):
        return None
    return sum(int(n) * ITEM_SIZES[DTYPES[kind]] for kind, n in parameters.items())
