"""What users may call what they add to the index."""

from __future__ import annotations

from transfer.errors import InputError
from zoo_index.database import collections, queries
from zoo_index.database.store import Connection
from zoo_index.foundation.plain_text import check_name

__all__ = ["check_entry_name", "check_is_free"]


def check_entry_name(name: str) -> None:
    """Refuse a name that would be taken for something else.

    Raises
    ------
    InputError
    """
    if not name or name != name.strip() or set(name) & set("/\\:."):
        raise InputError(
            f"expected a name without '/', '\\', ':', '.' (which sets off a tag) and outer spaces, got {name!r}; "
            "give another one: --name"
        )
    check_name(name, "a name")


def check_is_free(connection: Connection, name: str) -> None:
    """Refuse a name that an entry, an architecture or a collection has.

    Raises
    ------
    InputError
    """
    rows = queries.entry_rows(connection, queries.generation(connection), name=name)
    known = {one.name for ones in collections.collections_of(connection).values() for one in ones}
    if rows or name in known:
        raise InputError(f"expected a new name, {name!r} is taken; choose another one, or see: zoo show {name}")
