"""Where the weights of an entry are: on disk, in a cache, or on a hub.

A missing connection is noticed within seconds; what is in a cache is used without asking the hub.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo_index.errors import OfflineError, WeightsUnavailableError

__all__ = ["Availability", "fetch", "hub_cache"]

_CONNECT_SECONDS = 4.0

_FILENAMES = ("model.safetensors", "pytorch_model.bin")
"""Names timm gives its weights on the hub, in the order it looks for them."""


class Availability:
    """Answers quickly for many entries whether their weights are on this machine."""

    def __init__(self) -> None:
        self._cache = hub_cache()
        try:
            self._cached = {p.name for p in self._cache.iterdir()}
        except OSError:
            self._cached = set()

    def find(self, entry: Mapping[str, Any]) -> Path | None:
        """File with the weights of an entry, if it is here.

        Parameters
        ----------
        entry : mapping
            With ``path``, ``hub_id``, ``hub_filename`` and ``url``.
        """
        if entry["path"]:
            path = Path(entry["path"])
            return path if path.is_file() else None
        hub_id = entry["hub_id"]
        if hub_id and "models--" + hub_id.replace("/", "--") in self._cached:
            from huggingface_hub import try_to_load_from_cache

            for filename in _filenames(entry):
                found = try_to_load_from_cache(hub_id, filename, cache_dir=self._cache)
                if isinstance(found, str):
                    return Path(found)
        if entry["url"]:
            path = _torch_cache() / str(entry["url"]).rpartition("/")[2]
            if path.is_file():
                return path
        return None


def fetch(entry: Mapping[str, Any]) -> Path:
    """Return the file with the weights of an entry, downloading it if need be.

    Raises
    ------
    OfflineError
        If it has to be downloaded and the hub cannot be reached.
    WeightsUnavailableError
        If the entry names no place, or the download fails.
    """
    found = Availability().find(entry)
    if found:
        return found
    name = entry["name"]
    remedy = "or give the file: --weights FILE, or take a source that is at hand: zoo list --available"
    if entry["path"]:
        raise WeightsUnavailableError(
            f"expected the weights of {name!r} at '{entry['path']}', found nothing; put the file back, {remedy}"
        )
    if entry["hub_id"]:
        return _from_hub(entry, remedy)
    if entry["url"]:
        return _from_url(entry, remedy)
    raise WeightsUnavailableError(
        f"expected to know where the weights of {name!r} are, the catalogue does not say; "
        "give the file: --weights FILE"
    )


def _from_hub(entry: Mapping[str, Any], remedy: str) -> Path:
    from huggingface_hub import constants, get_session, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    hub_id = entry["hub_id"]
    needs = f"{entry['name']!r} needs {_filenames(entry)[0]} of {hub_id}"
    if constants.HF_HUB_OFFLINE:
        raise OfflineError(f"{needs}, which is not in the cache, and HF_HUB_OFFLINE is set; unset it, {remedy}")
    try:  # the download itself retries for half a minute before it gives up
        get_session().head(constants.ENDPOINT, timeout=_CONNECT_SECONDS)
    except Exception as error:  # httpx raises errors of many roots, depending on its version
        raise OfflineError(
            f"{needs} from {constants.ENDPOINT}, which cannot be reached ({type(error).__name__}); "
            f"connect to the network, {remedy}"
        ) from error
    for filename in _filenames(entry):
        try:
            return Path(hf_hub_download(hub_id, filename))
        except EntryNotFoundError:
            continue
        except Exception as error:
            raise WeightsUnavailableError(f"{needs}, the download failed: {error}; try again, {remedy}") from error
    raise WeightsUnavailableError(f"{needs}, the hub has no such file; {remedy}")


def _from_url(entry: Mapping[str, Any], remedy: str) -> Path:
    from urllib.parse import urlparse
    from urllib.request import urlopen

    import torch

    url = str(entry["url"])
    needs = f"{entry['name']!r} needs {url}"
    if urlparse(url).scheme != "https":
        raise WeightsUnavailableError(f"{needs}, which is no https address; {remedy}")
    try:
        urlopen(url, timeout=_CONNECT_SECONDS).close()
    except (TimeoutError, OSError) as error:
        raise OfflineError(
            f"{needs}, which cannot be reached ({error}); connect to the network, {remedy}"
        ) from error
    path = _torch_cache() / url.rpartition("/")[2]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path), progress=False)
    except OSError as error:
        raise WeightsUnavailableError(f"{needs}, the download failed: {error}; try again, {remedy}") from error
    return path


def _filenames(entry: Mapping[str, Any]) -> tuple[str, ...]:
    return (entry["hub_filename"],) if entry["hub_filename"] else _FILENAMES


def hub_cache() -> Path:
    """Return the hub's cache folder by the hub's own rules, without importing its library."""
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    return Path(
        os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or home / "hub"
    ).expanduser()


def _torch_cache() -> Path:
    home = Path(os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch")
    return home.expanduser() / "hub" / "checkpoints"
