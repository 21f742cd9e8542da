"""What a job says of itself while it works, on stderr: one line an event, as text or as JSON for machines to read.

The library only speaks to the logger ``zoo_index``; this sets up where that goes for the command line.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from zoo_index.foundation.plain_text import plain
from zoo_index.foundation.progress import beside

__all__ = ["LOGGER", "set_up"]

LOGGER = logging.getLogger("zoo_index")
LOGGER.addHandler(logging.NullHandler())  # programs that set up no logging see nothing

_LEVELS = (logging.WARNING, logging.INFO, logging.DEBUG)


def set_up(verbosity: int, *, as_json: bool) -> None:
    """Send events to stderr.

    Parameters
    ----------
    verbosity : int
        0 for warnings alone, 1 for what is done, 2 for every item.
    as_json : bool
        One JSON document a line, with ``time`` (UTC), ``level``, ``event``, and what belongs to the event.
    """
    handler = _Handler()
    handler.setFormatter(_Json() if as_json else _Text())
    LOGGER.handlers = [handler]
    LOGGER.propagate = False
    LOGGER.setLevel(_LEVELS[min(verbosity, len(_LEVELS) - 1)])


class _Handler(logging.StreamHandler[Any]):
    """Writes where stderr is now; that nobody reads it is no fault of the job."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line where progress may be shown."""
        with beside("\n"):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's name
        """Pass over it."""


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _details(record: logging.LogRecord) -> dict[str, Any]:
    found: dict[str, Any] = getattr(record, "details", {})
    return found


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        details = " ".join(f"{key}={value}" for key, value in _details(record).items())
        return plain(f"{_time(record)} {record.levelname} {record.getMessage()} {details}".rstrip())


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        values = {"time": _time(record), "level": record.levelname.lower(), "event": record.getMessage()}
        return json.dumps({**values, **_details(record)}, default=str)
