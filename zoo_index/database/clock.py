"""The database's own clock: machines that share a database need not agree on the time."""

from __future__ import annotations

from typing import Any

from sqlalchemy import DateTime
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

__all__ = ["now"]


class now(FunctionElement[Any]):  # noqa: N801 - reads as a function in statements
    """The time in UTC, without a time zone, to the millisecond at least."""

    type = DateTime()
    inherit_cache = True


@compiles(now, "sqlite")
def _sqlite(_element: now, _compiler: Any, **_options: Any) -> str:
    return "strftime('%Y-%m-%d %H:%M:%f000', 'now')"


@compiles(now, "postgresql")
def _postgresql(_element: now, _compiler: Any, **_options: Any) -> str:
    return "(clock_timestamp() AT TIME ZONE 'utc')"
