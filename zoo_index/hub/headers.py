"""Headers of safetensors files on a hub: names and shapes of tensors, without their values.

Each is one request for the first bytes of a file, and is kept under its commit, which never changes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from transfer.errors import CheckpointError
from transfer.weights.checkpoint import Checkpoint, header_checkpoint
from transfer.weights.files import replacing
from transfer.weights.indexes import INDEX, MOST_BYTES, is_below, read_index
from zoo_index.errors import OfflineError
from zoo_index.hub import library
from zoo_index.hub.downloading import fetch_part, fetch_whole
from zoo_index.hub.failures import DownloadError, UnreachableError

__all__ = ["fetch_ahead", "header_cache", "read_remote"]

_FIRST = 1 << 17
"""Bytes of the first request: most headers are smaller."""

_MOST_SHARDS = 1000

_AT_ONCE = 8
"""Requests; a hub answers each in some tenths of a second."""


def header_cache() -> Path:
    """Return the folder that headers are kept in."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("ZOO_HEADERS") or user_cache_path("zoo") / "headers")


def read_remote(name: str, commit: str, file: str, *, with_config: bool = False) -> Checkpoint:
    """Read the header of the weights in a repository.

    Parameters
    ----------
    name : str
        Of the repository.
    commit : str
    file : str
        A safetensors file, or the index of several.
    with_config : bool
        Fetch ``config.json`` as well, which says how the network is built.

    Returns
    -------
    Checkpoint
        Without values.

    Raises
    ------
    DownloadError
        If the hub cannot be reached, refuses, or answers with something else.
    OfflineError
        If it is not kept here and HF_HUB_OFFLINE is set.
    CheckpointError
        If it is no header.
    """
    folder = header_cache() / name.replace("/", "--") / commit

    def kept(path: str, get: Callable[[str], bytes], suffix: str = "") -> bytes:
        return _kept(folder / f"{path}{suffix}", get, name, commit, path)

    if with_config:
        kept("config.json", _whole)
    if not file.endswith(INDEX):
        return header_checkpoint({file: kept(file, _header, ".header")}, folder / file)
    places = _places(kept(file, _whole), name, file)
    beside = PurePosixPath(file).parent
    headers = {shard: kept(str(beside / shard), _header, ".header") for shard in dict.fromkeys(places.values())}
    return header_checkpoint(headers, folder / file, places)


def fetch_ahead(wanted: Sequence[tuple[str, str, str, bool]]) -> None:
    """Fetch what `read_remote` will ask for, many at a time; what fails alone is left for it to say.

    Parameters
    ----------
    wanted : sequence of tuple
        Name, commit, file and whether with its configuration.

    Raises
    ------
    UnreachableError
        If the hub cannot be reached any more.
    """

    def fetch(one: tuple[str, str, str, bool]) -> None:
        name, commit, file, with_config = one
        try:
            read_remote(name, commit, file, with_config=with_config)
        except UnreachableError:
            raise
        except (DownloadError, CheckpointError, OfflineError, OSError):
            pass

    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="zoo-hub") as pool:
        try:
            for _ in pool.map(fetch, wanted):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _places(index: bytes, name: str, file: str) -> dict[str, str]:
    """Read which shard holds which tensor."""
    try:
        places = read_index(index)
    except ValueError:
        places = {}
    shards = set(places.values())
    if not 0 < len(shards) <= _MOST_SHARDS or not all(map(is_below, shards)):
        raise CheckpointError(f"expected an index of shards in {file!r} of {name}, found something else")
    return places


def _kept(place: Path, get: Callable[[str], bytes], name: str, commit: str, file: str) -> bytes:
    """Return what was kept, or fetch it and keep it."""
    if not is_below(file):
        raise DownloadError(f"is asked for a file {file!r} outside its folder", "check the catalogue")
    try:
        return place.read_bytes()
    except OSError:
        pass
    if library.is_offline():
        raise OfflineError(f"{file} of {name} is not kept here, and HF_HUB_OFFLINE is set; unset it")
    found = get(library.file_url(name, file, commit))
    place.parent.mkdir(parents=True, exist_ok=True)
    with replacing(place) as temporary:
        temporary.write_bytes(found)
    return found


def _whole(url: str) -> bytes:
    return fetch_whole(url, MOST_BYTES, token=library.token(), seconds=library.patience())[0]


def _part(url: str, start: int, end: int) -> tuple[bytes, int | None]:
    return fetch_part(url, start, end, token=library.token(), seconds=library.patience())


def _header(url: str) -> bytes:
    """Fetch the length of a header and the header; the size of the file follows on them, in eight bytes."""
    data, size = _part(url, 0, _FIRST)
    length = 8 + int.from_bytes(data[:8], "little")
    if len(data) < 9 or data[8:9] != b"{" or not 10 <= length <= MOST_BYTES or size is None or length > size:
        raise DownloadError("sent no safetensors file", "check what HF_ENDPOINT names, or try again later")
    if length > len(data):
        data += _part(url, len(data), length)[0]
    if len(data) < length:
        raise DownloadError("broke off within the header", "try again later")
    return data[:length] + size.to_bytes(8, "little")
