"""What the hub's own library knows: the address of the hub, the token, the cache. Alone asks it.

It is imported when it is asked, since it takes a while. Requests are made by `downloading`, since the library waits
as long as a server asks it to.
"""

from __future__ import annotations

from pathlib import Path

__all__ = ["WITH_CONFIG", "cached", "endpoint", "file_url", "is_offline", "patience", "token"]

WITH_CONFIG = "transformers"
"""The library of a repository whose ``config.json`` says how its network is built, as the hub calls it."""


def endpoint() -> str:
    """Return the address of the hub (HF_ENDPOINT)."""
    from huggingface_hub import constants

    return constants.ENDPOINT


def is_offline() -> bool:
    """Whether the user wants no requests (HF_HUB_OFFLINE)."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def patience() -> float:
    """Return how many seconds a server may take to answer (HF_HUB_DOWNLOAD_TIMEOUT)."""
    from huggingface_hub import constants

    return float(constants.HF_HUB_DOWNLOAD_TIMEOUT)


def token() -> str | None:
    """Return the user's token, if there is one."""
    import huggingface_hub

    return huggingface_hub.get_token()


def file_url(repository: str, file: str, revision: str | None) -> str:
    """Return the address of a file.

    Raises
    ------
    ValueError
        If the hub has no such names.
    """
    from huggingface_hub import hf_hub_url

    return hf_hub_url(repository, file, revision=revision)


def cached(repository: str, file: str, revision: str | None, cache: Path) -> Path | None:
    """Return where a file is in the hub's cache, if it is there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, file, cache_dir=cache, revision=revision)
    return Path(found) if isinstance(found, str) else None
