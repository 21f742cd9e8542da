"""Get the weights of an entry: from this machine, else from the hub or the address that its catalogue names.

Files of a hub are kept as the hub's own library keeps them, so that either finds what the other downloaded.
"""

from __future__ import annotations

import contextlib
import hashlib
import ipaddress
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from transfer.weights.files import replacing
from transfer.weights.indexes import INDEX, MOST_BYTES, is_below
from transfer.weights.inspection import is_weights
from zoo_index.errors import OfflineError, WeightsUnavailableError
from zoo_index.foundation.progress import advance_bytes
from zoo_index.hub import library
from zoo_index.hub.availability import Availability, file_names, hub_cache, shards_of, torch_cache
from zoo_index.hub.downloading import Headers, download, fetch_whole
from zoo_index.hub.failures import DownloadError, UnreachableError

__all__ = ["fetch"]

_REMEDY = "or give the file (zoo transfer --weights FILE), or take a source that is at hand: zoo list --available"

_LOOPBACK = "ZOO_LOOPBACK_HTTP"
"""Environment variable; if it is 1, weights may come by plain http from this machine itself."""


def fetch(entry: Mapping[str, Any]) -> Path:
    """Return the file with the weights of an entry, downloading it if need be.

    Parameters
    ----------
    entry : mapping
        With ``name``, ``path``, ``hub_id``, ``hub_filename``, ``revision`` and ``url``.

    Raises
    ------
    OfflineError
        If it has to be downloaded and the hub cannot be reached.
    WeightsUnavailableError
        If the entry names no place, the hub refuses, or the download fails; nothing is kept then.
    """
    found = Availability().find(entry)
    if found:
        return found
    name = entry["name"]
    if entry["path"]:
        raise WeightsUnavailableError(
            f"expected the weights of {name!r} at '{entry['path']}', found nothing; put the file back, {_REMEDY}"
        )
    if entry["hub_id"]:
        return _from_hub(entry)
    if entry["url"]:
        return _from_url(entry)
    raise WeightsUnavailableError(
        f"expected to know where the weights of {name!r} are, the catalogue does not say; "
        "give the file: --weights FILE"
    )


def _from_hub(entry: Mapping[str, Any]) -> Path:
    hub_id, names = str(entry["hub_id"]), file_names(entry)
    needs = f"{entry['name']!r} needs {names[0]} of {hub_id}"
    if library.is_offline():
        raise OfflineError(f"{needs}, which is not in the cache, and HF_HUB_OFFLINE is set; unset it, {_REMEDY}")
    repository = _Repository(hub_id, entry.get("revision"))
    with _explained(f"{needs} from {library.endpoint()}"):
        for name in names:
            try:
                found = repository.sharded(name) if name.endswith(INDEX) else repository.weights(name)
            except DownloadError as error:
                if error.status not in (404, 410) or error.code == "RepoNotFound" or name == names[-1]:
                    raise
            else:
                if entry.get("family") == library.WITH_CONFIG:
                    repository.configuration()
                return found
    raise AssertionError("the last name returns or raises")


class _Repository:
    """Files of a repository of the hub, into the hub's cache."""

    def __init__(self, hub_id: str, revision: str | None) -> None:
        self._id, self._revision = hub_id, revision
        self._storage = hub_cache() / f"models--{hub_id.replace('/', '--')}"

    def weights(self, name: str) -> Path:
        """Download a weights file."""
        kept = self._kept(name)
        told = partial(advance_bytes, f"fetching {self._id} {name}")
        token, seconds = library.token(), library.patience()
        download(self._url(name), kept.place, token=token, seconds=seconds, progress=told)
        return kept.link()

    def sharded(self, name: str) -> Path:
        """Download the index of several files, and those of them that are not here."""
        index = self._small(name)
        for shard in shards_of(index):
            if not is_weights(index.parent / shard):
                self.weights(str(PurePosixPath(name).parent / shard))
        return index

    def configuration(self) -> None:
        """Download what says how the network is built, if there is such a file."""
        with contextlib.suppress(DownloadError):
            self._small("config.json")

    def _small(self, name: str) -> Path:
        kept = self._kept(name)
        token, seconds = library.token(), library.patience()
        data, headers = fetch_whole(self._url(name), MOST_BYTES, token=token, seconds=seconds)
        with replacing(kept.place(headers)) as temporary:
            temporary.write_bytes(data)
        return kept.link()

    def _url(self, name: str) -> str:
        return library.file_url(self._id, name, self._revision)

    def _kept(self, name: str) -> _Kept:
        return _Kept(self._storage, name, is_newest=not self._revision)


class _Kept:
    """A file in the hub's cache: its content under ``blobs``, and a link to it under its commit and its name."""

    def __init__(self, storage: Path, name: str, *, is_newest: bool) -> None:
        if not is_below(name):
            raise DownloadError(f"is asked for a file {name!r} outside its folder", "check the catalogue")
        self._storage, self._name, self._is_newest = storage, name, is_newest
        self._commit, self._blob = "", Path()

    def place(self, headers: Headers) -> Path:
        """Return where the content goes."""
        self._commit = headers.get("x-repo-commit", "")
        if not re.fullmatch(r"[0-9A-Za-z]{7,64}", self._commit):
            raise DownloadError(
                "answered with a file, but not as a hub does (no X-Repo-Commit)", "check what HF_ENDPOINT names"
            )
        etag = headers.get("x-linked-etag") or headers.get("etag", "")
        etag = etag.removeprefix("W/").strip('"')
        if not re.fullmatch(r"[0-9A-Za-z][0-9A-Za-z_-]{7,127}", etag):
            etag = hashlib.sha256(f"{self._commit}/{self._name}/{etag}".encode()).hexdigest()
        self._blob = self._storage / "blobs" / etag
        self._blob.parent.mkdir(parents=True, exist_ok=True)
        return self._blob

    def link(self) -> Path:
        """Make the content known under its name, and return that."""
        pointer = self._storage / "snapshots" / self._commit / self._name
        pointer.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            pointer.unlink()
        try:
            pointer.symlink_to(os.path.relpath(self._blob, pointer.parent))
        except FileExistsError:  # another process has just done the same
            pass
        except OSError:  # no links here
            os.replace(self._blob, pointer)
        if not self._is_newest:
            return pointer
        reference = self._storage / "refs" / "main"
        reference.parent.mkdir(parents=True, exist_ok=True)
        with replacing(reference) as temporary:
            temporary.write_text(self._commit)
        return pointer


def _from_url(entry: Mapping[str, Any]) -> Path:
    url = str(entry["url"])
    needs = f"{entry['name']!r} needs {url}"
    if not _is_safe(url):
        raise WeightsUnavailableError(f"{needs}, which is no https address; {_REMEDY}")
    path = torch_cache() / url.rpartition("/")[2]
    with _explained(f"{needs} from {urlsplit(url).netloc}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        return download(url, lambda _: path, progress=partial(advance_bytes, f"fetching {path.name}"))


def _is_safe(url: str) -> bool:
    try:
        parts = urlsplit(url)
        if parts.scheme == "https":
            return True
        is_own = parts.scheme == "http" and ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
    return is_own and os.environ.get(_LOOPBACK) == "1"


@contextmanager
def _explained(needs: str) -> Iterator[None]:
    """Say what was needed, what went wrong and what to do."""
    try:
        yield
    except UnreachableError as error:
        raise OfflineError(f"{needs}, which {error.reason}; {error.advice}, {_REMEDY}") from error
    except DownloadError as error:
        raise WeightsUnavailableError(f"{needs}, which {error.reason}; {error.advice}, {_REMEDY}") from error
    except OSError as error:
        where = f" '{error.filename}'" if error.filename else ""
        raise WeightsUnavailableError(
            f"{needs}, it could not be written{where}: {error.strerror or error}; make room for it, or name other "
            "folders with HF_HUB_CACHE and TORCH_HOME"
        ) from error
    except ValueError as error:  # the hub's library refuses the name
        raise WeightsUnavailableError(f"{needs}, which cannot be: {error}; {_REMEDY}") from error
