"""Which weights are on this machine: in a file of their own, or in the cache of a hub or of torch.

What lies in a cache and is no weights file, such as a web page or half a download, does not count.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transfer.weights.files import open_regular
from transfer.weights.indexes import INDEX, MOST_BYTES, is_below, read_index
from transfer.weights.inspection import is_weights
from zoo_index.hub import library

__all__ = ["Availability", "file_names", "hub_cache", "parts_of", "shards_of", "torch_cache"]

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
            With ``path``, ``hub_id``, ``hub_filename``, ``revision`` and ``url``.
        """
        if entry["path"]:
            path = Path(entry["path"])
            return path if os.path.isfile(path) else None  # Path.is_file raises for one that it may not look at
        hub_id = entry["hub_id"]
        if hub_id and "models--" + hub_id.replace("/", "--") in self._cached:
            for filename in file_names(entry):
                found = library.cached(hub_id, filename, entry.get("revision"), self._cache)
                if found and _is_whole(found):
                    return found
        if entry["url"]:
            path = torch_cache() / str(entry["url"]).rpartition("/")[2]
            if is_weights(path):
                return path
        return None


def _is_whole(path: Path) -> bool:
    """Whether a file in a cache is weights, or an index all of whose files are."""
    if not path.name.endswith(INDEX):
        return is_weights(path)
    shards = shards_of(path)
    return bool(shards) and all(is_weights(path.parent / shard) for shard in shards)


def shards_of(index: Path) -> list[str]:
    """Return the files that an index names, below its folder; none of what is no index.

    Parameters
    ----------
    index : Path
    """
    try:
        with open_regular(index) as opened:
            found = list(dict.fromkeys(read_index(opened.read(MOST_BYTES)).values()))
    except (OSError, ValueError):
        return []
    return found if all(map(is_below, found)) else []


def parts_of(file: Path) -> list[Path]:
    """Return the files that hold the tensors of a checkpoint in several files; none of one that is alone.

    Parameters
    ----------
    file : Path
        An index, the metadata of a folder of `torch.distributed.checkpoint`, or a file that is alone.
    """
    if file.name.endswith(INDEX):
        return [file.parent / shard for shard in shards_of(file)]
    return sorted(file.parent.glob("*.distcp")) if file.name == ".metadata" else []


def file_names(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Names that the weights of an entry may have on the hub, the likely one first."""
    return (entry["hub_filename"],) if entry["hub_filename"] else _FILENAMES


def hub_cache() -> Path:
    """Return the hub's cache folder by the hub's own rules, without importing its library."""
    home = Path(os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface")
    return Path(
        os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or home / "hub"
    ).expanduser()


def torch_cache() -> Path:
    """Return the folder that torch keeps downloaded checkpoints in, without importing torch."""
    home = Path(os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch")
    return home.expanduser() / "hub" / "checkpoints"
