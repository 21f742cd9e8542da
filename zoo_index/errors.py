"""Errors of the index, below the root of `transfer.errors`."""

from __future__ import annotations

from transfer.errors import InputError, ZooError

__all__ = [
    "CatalogueError",
    "EmptyIndexError",
    "EngineError",
    "IndexFileError",
    "NothingFoundError",
    "OfflineError",
    "UnknownNameError",
    "WeightsUnavailableError",
]


class EmptyIndexError(InputError):
    """The index holds no architecture yet."""


class IndexFileError(InputError):
    """The database cannot be opened, written, or was made by another version."""


class UnknownNameError(InputError):
    """A name that the index or timm does not know; the message names the nearest ones."""


class CatalogueError(ZooError):
    """A catalogue that cannot be listed, or one of its networks that cannot be built."""


class EngineError(ZooError):
    """Worker processes or a cluster that cannot be started, reached or kept; what was finished stands."""


class NothingFoundError(ZooError):
    """A question with no answer: no source passes the filters."""


class WeightsUnavailableError(ZooError):
    """The weights of an entry are not at hand and cannot be fetched."""

    exit_code = 2


class OfflineError(WeightsUnavailableError):
    """No connection to the hub that has the weights."""
