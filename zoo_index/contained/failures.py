"""Errors on their way from the process of a target to the command: the same class, message and exit code."""

from __future__ import annotations

import traceback
from typing import Any

import zoo_index.errors
from transfer.errors import TargetError, ZooError
from zoo_index.foundation.plain_text import plain_lines

__all__ = ["error_from", "error_values"]

_ERRORS = zoo_index.errors.__name__
"""Imported so that every error is known as a child of the root."""


def error_values(error: BaseException) -> dict[str, str]:
    """Write an error as JSON values; one that is not ours has no class.

    Parameters
    ----------
    error : BaseException
    """
    is_ours = isinstance(error, ZooError)
    message = str(error) if is_ours else " ".join(str(error).split())[:300]
    return {
        "class": type(error).__name__ if is_ours else "",
        "message": message if is_ours else type(error).__name__ + (f": {message}" if message else ""),
        "traceback": "".join(traceback.format_exception(error)),
    }


def error_from(values: Any, spec: str) -> ZooError:
    """Make an error of JSON values; where it came about is in its notes.

    Parameters
    ----------
    values : object
        As `error_values` wrote it.
    spec : str
        What the user called the target.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    if not isinstance(values, dict) or {type(value) for value in values.values()} != {str}:
        raise ValueError("expected an error")
    try:
        name, message, trace = (plain_lines(values[key]) for key in ("class", "message", "traceback"))
    except KeyError as error:
        raise ValueError(f"expected {error} of an error") from error
    kind = next((kind for kind in _kinds(ZooError) if kind.__name__ == name), None)
    if kind is None:
        made: ZooError = TargetError(
            f"expected {spec!r} to be usable as a network, its process raised {message}; "
            "mend the code, --debug shows where"
        )
    else:
        made = kind(message)
    made.add_note(f"In the process of the target:\n{trace}")
    return made


def _kinds(root: type[ZooError]) -> list[type[ZooError]]:
    return [root, *(kind for child in root.__subclasses__() for kind in _kinds(child))]
