"""Take out of the database what nothing needs any more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, Table, delete, func, or_, select, update

from zoo_index.database.clock import now
from zoo_index.database.packing import batched, unpack_ids
from zoo_index.database.schema import (
    ARCHITECTURE,
    BASIS,
    BLOCK,
    EMBEDDING,
    ENTRY,
    FAILURE,
    GENERATION,
    LAYER,
    METRIC,
    STATE,
    standing,
)

__all__ = ["Cleared", "clear", "drop_files", "drop_orphans", "keep_standing", "orphans"]


@dataclass(frozen=True)
class Cleared:
    """How many rows went, by what they were."""

    architectures: int
    entries: int
    blocks: int
    layers: int


def clear(connection: Connection, keep_days: float) -> Cleared:
    """Delete what retired more than some days ago, and the blocks and layers that only that used.

    What an unfinished refresh prepared stays: the next one goes on from it.
    """
    limit = connection.execute(select(now())).scalar_one() - timedelta(days=keep_days)
    current = select(STATE.c.generation).scalar_subquery()
    query = select(func.max(GENERATION.c.number)).where(GENERATION.c.made_utc <= limit)
    last = connection.execute(query.where(GENERATION.c.number <= current)).scalar() or 0
    entries = connection.execute(delete(ENTRY).where(ENTRY.c.died <= last)).rowcount
    architectures = connection.execute(delete(ARCHITECTURE).where(ARCHITECTURE.c.died <= last)).rowcount
    connection.execute(delete(BASIS).where(BASIS.c.died <= last))
    connection.execute(delete(GENERATION).where(GENERATION.c.number < last))
    blocks, layers = _drop_unused(connection)
    return Cleared(architectures, entries, blocks, layers)


def keep_standing(connection: Connection, number: int, catalogues: Sequence[str]) -> None:
    """Delete all but what stands in a generation of some catalogues; that becomes the first generation.

    Readers are shown nothing yet: the generation in `STATE` is 0.
    """
    connection.execute(
        delete(ARCHITECTURE).where(
            or_(
                ARCHITECTURE.c.born.is_(None),
                ~standing(ARCHITECTURE, number),
                ARCHITECTURE.c.catalogue.not_in(catalogues),
            )
        )
    )
    connection.execute(delete(ENTRY).where(or_(ENTRY.c.born.is_(None), ~standing(ENTRY, number))))
    prepared = connection.execute(select(BASIS.c.id).where(BASIS.c.born.is_(None))).scalar()
    gone = BASIS.c.id != prepared if prepared is not None else ~standing(BASIS, number)
    connection.execute(delete(BASIS).where(gone))
    for table in (METRIC, FAILURE, GENERATION):
        connection.execute(delete(table))
    for table in (ARCHITECTURE, ENTRY, BASIS):
        connection.execute(update(table).values(born=1, died=None))
    connection.execute(update(STATE).values(generation=0))
    _drop_unused(connection)


def drop_files(connection: Connection) -> None:
    """Delete the entries that are files of some machine, and the architectures that have no others."""
    connection.execute(delete(ENTRY).where(ENTRY.c.path.is_not(None)))
    connection.execute(delete(ARCHITECTURE).where(ARCHITECTURE.c.id.not_in(select(ENTRY.c.architecture_id))))


def orphans(connection: Connection) -> int:
    """Count the vectors and entries whose architecture or basis is gone."""
    return sum(
        int(connection.execute(select(func.count()).select_from(table).where(gone)).scalar_one())
        for table, gone in _orphaned()
    )


def drop_orphans(connection: Connection) -> int:
    """Delete the vectors and entries whose architecture or basis is gone; return how many."""
    return sum(int(connection.execute(delete(table).where(gone)).rowcount) for table, gone in _orphaned())


def _orphaned() -> list[tuple[Table, ColumnElement[bool]]]:
    architectures, bases = select(ARCHITECTURE.c.id), select(BASIS.c.id)
    of_none = or_(EMBEDDING.c.architecture_id.not_in(architectures), EMBEDDING.c.basis_id.not_in(bases))
    return [(EMBEDDING, of_none), (ENTRY, ENTRY.c.architecture_id.not_in(architectures))]


def _drop_unused(connection: Connection) -> tuple[int, int]:
    """Delete the blocks that no architecture uses and the layers that no block uses; return how many."""
    used_blocks: set[int] = set()
    for row in connection.execute(select(ARCHITECTURE.c.dpiat_items, ARCHITECTURE.c.paper_items)):
        for packed in row:
            if packed is not None:
                used_blocks.update(unpack_ids(packed).tolist())
    used_layers: set[int] = set()
    unused_blocks = []
    for id_, packed in connection.execute(select(BLOCK.c.id, BLOCK.c.layer_ids)):
        if id_ in used_blocks:
            used_layers.update(unpack_ids(packed).tolist())
        else:
            unused_blocks.append(id_)
    unused_layers = [id_ for id_ in connection.execute(select(LAYER.c.id)).scalars() if id_ not in used_layers]
    _drop(connection, BLOCK, unused_blocks)
    _drop(connection, LAYER, unused_layers)
    return len(unused_blocks), len(unused_layers)


def _drop(connection: Connection, table: Table, ids: Sequence[int]) -> None:
    for part in batched(ids):
        connection.execute(delete(table).where(table.c.id.in_(part)))
