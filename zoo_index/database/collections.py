"""Folders and queries of hubs that a user wants to be listed at every refresh."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from zoo_index.catalogues.catalogue import Collection
from zoo_index.database.clock import now
from zoo_index.database.schema import COLLECTION

__all__ = ["collections_of", "drop_collection", "put_collection"]


def collections_of(connection: Connection, catalogue: str | None = None) -> dict[str, tuple[Collection, ...]]:
    """Return collections by catalogue, in the order of their names.

    Parameters
    ----------
    connection : Connection
    catalogue : str, optional
        Only this one's.
    """
    query = select(COLLECTION).order_by(COLLECTION.c.catalogue, COLLECTION.c.name)
    if catalogue is not None:
        query = query.where(COLLECTION.c.catalogue == catalogue)
    found: dict[str, tuple[Collection, ...]] = {}
    for row in connection.execute(query):
        made = Collection(row.name, row.address, row.license)
        found[row.catalogue] = (*found.get(row.catalogue, ()), made)
    return found


def put_collection(connection: Connection, catalogue: str, collection: Collection) -> None:
    """Keep a collection, in the place of one of the same name."""
    drop_collection(connection, catalogue, collection.name)
    connection.execute(
        insert(COLLECTION).values(
            catalogue=catalogue,
            name=collection.name,
            address=collection.address,
            license=collection.license,
            added_utc=now(),
        )
    )


def drop_collection(connection: Connection, catalogue: str, name: str) -> bool:
    """Forget a collection; return whether there was one."""
    gone = delete(COLLECTION).where(COLLECTION.c.catalogue == catalogue, COLLECTION.c.name == name)
    return bool(connection.execute(gone).rowcount)
