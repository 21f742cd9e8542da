"""Rows into the index: every function works inside the caller's transaction (`Store.writing`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, CursorResult, Row, delete, insert, select, update

from zoo_index.catalogues.catalogue import CatalogueEntry
from zoo_index.catalogues.description import FEATURES
from zoo_index.database.packing import batched, rows_among, unpack_ids
from zoo_index.database.schema import (
    ARCHITECTURE,
    BASIS,
    BLOCK,
    EMBEDDING,
    ENTRY,
    FAILURE,
    LAYER,
    METRIC,
    RUN,
    STATE,
)

if TYPE_CHECKING:
    from zoo_index.database.loading import Basis

__all__ = [
    "drop_architectures",
    "drop_failures",
    "drop_unused",
    "end_run",
    "forget_history",
    "put_basis",
    "put_entries",
    "put_failure",
    "put_metrics",
    "put_recall",
    "put_vectors",
    "put_vectors_stamp",
    "raise_generation",
    "start_run",
]


def put_entries(
    connection: Connection, catalogue: str, entries: Sequence[CatalogueEntry], *, partial: bool = False
) -> int:
    """Make the stored entries of a catalogue equal to `entries` where their architecture is stored.

    Parameters
    ----------
    connection : Connection
    catalogue : str
    entries : sequence of CatalogueEntry
    partial : bool
        Leave stored entries that are not among `entries`.

    Returns
    -------
    int
        Number of rows inserted, changed or deleted.
    """
    # of a part, only what may belong to it is read
    names = sorted({entry.architecture for entry in entries}) if partial else None
    query = select(ARCHITECTURE.c.name, ARCHITECTURE.c.id).where(ARCHITECTURE.c.catalogue == catalogue)
    ids = {row.name: row.id for row in _with(connection, query, ARCHITECTURE.c.name, names)}
    wanted = {}
    positions: dict[str, int] = {}
    for entry in entries:
        if entry.architecture in ids:
            position = positions[entry.architecture] = positions.get(entry.architecture, -1) + 1
            wanted[entry.name] = {
                "architecture_id": ids[entry.architecture],
                "catalogue": catalogue,
                "name": entry.name,
                "tag": entry.tag,
                "family": entry.family,
                "position": position,
                "license": entry.license,
                "input_size": entry.input_size,
                "n_classes": entry.n_classes,
                "hub_id": entry.hub_id,
                "hub_filename": entry.hub_filename,
                "url": entry.url,
                "path": entry.path,
            }
    query = select(ENTRY).where(ENTRY.c.catalogue == catalogue)
    names = sorted(wanted) if partial else None
    stored = {
        row["name"]: {key: value for key, value in row.items() if key != "id"}
        for row in (found._mapping for found in _with(connection, query, ENTRY.c.name, names))
    }
    stale = [
        name for name, row in stored.items() if wanted.get(name) != row and not (partial and name not in wanted)
    ]
    new = [row for name, row in wanted.items() if stored.get(name) != row]
    for name in stale:
        connection.execute(delete(ENTRY).where(ENTRY.c.catalogue == catalogue, ENTRY.c.name == name))
    if new:
        connection.execute(insert(ENTRY), new)
    return len(set(stale) | {str(row["name"]) for row in new})


def _with(
    connection: Connection, query: Any, column: ColumnElement[str], values: Sequence[str] | None
) -> Iterator[Row[Any]]:
    """Rows of a query: all, or those with one of some values."""
    if values is None:
        yield from connection.execute(query)
        return
    yield from rows_among(connection, query, column, values)


def drop_architectures(connection: Connection, catalogue: str, keep: Iterable[str]) -> int:
    """Delete the architectures of a catalogue that it no longer lists, with their entries."""
    kept = set(keep)
    rows = connection.execute(
        select(ARCHITECTURE.c.id, ARCHITECTURE.c.name).where(ARCHITECTURE.c.catalogue == catalogue)
    )
    gone = [row.id for row in rows if row.name not in kept]
    for id_ in gone:
        connection.execute(delete(ARCHITECTURE).where(ARCHITECTURE.c.id == id_))
    return len(gone)


def drop_failures(connection: Connection, catalogue: str, keep: Iterable[str]) -> None:
    """Forget the failures of architectures that a catalogue no longer lists."""
    kept = set(keep)
    rows = connection.execute(select(FAILURE.c.id, FAILURE.c.name).where(FAILURE.c.catalogue == catalogue))
    for id_ in [row.id for row in rows if row.name not in kept]:
        connection.execute(delete(FAILURE).where(FAILURE.c.id == id_))


def put_failure(connection: Connection, catalogue: str, catalogue_version: str, name: str, error: str) -> None:
    """Note that an architecture could not be standardized."""
    connection.execute(delete(FAILURE).where(FAILURE.c.catalogue == catalogue, FAILURE.c.name == name))
    connection.execute(
        insert(FAILURE).values(catalogue=catalogue, name=name, catalogue_version=catalogue_version, error=error)
    )


def put_metrics(connection: Connection, dataset: str, results: Sequence[dict[str, Any]]) -> None:
    """Replace the results on a data set."""
    connection.execute(delete(METRIC).where(METRIC.c.dataset == dataset))
    connection.execute(insert(METRIC), [{"dataset": dataset, **result} for result in results])


def start_run(connection: Connection, kind: str, n_planned: int, detail: str = "") -> int:
    """Open a run; return its id."""
    result = connection.execute(
        insert(RUN).values(
            kind=kind,
            status="running",
            started_utc=_now(),
            n_planned=n_planned,
            n_done=0,
            n_failed=0,
            detail=detail,
        )
    )
    return _new_id(result)


def end_run(connection: Connection, run: int, status: str, n_done: int, n_failed: int) -> None:
    """Close a run as done, interrupted or failed."""
    connection.execute(
        update(RUN)
        .where(RUN.c.id == run)
        .values(status=status, finished_utc=_now(), n_done=n_done, n_failed=n_failed)
    )


def raise_generation(connection: Connection) -> None:
    """Say that recommendations may differ from now on; what is derived from the database is stale."""
    connection.execute(update(STATE).values(generation=STATE.c.generation + 1))


def put_basis(connection: Connection, measure: str, basis: Basis) -> None:
    """Replace what the embedding is made of; vectors made with the old one are dropped."""
    connection.execute(delete(EMBEDDING))
    connection.execute(delete(BASIS).where(BASIS.c.measure == measure))
    connection.execute(
        insert(BASIS).values(
            measure=measure,
            features=FEATURES,
            landmarks=json.dumps(basis.landmarks, separators=(",", ":")),
            projection=basis.projection.astype("<f4").tobytes(),
        )
    )


def put_recall(connection: Connection, measure: str, recall: float) -> None:
    """Note how much of the true best sources a shortlist holds."""
    connection.execute(update(BASIS).where(BASIS.c.measure == measure).values(recall=recall))


def put_vectors(connection: Connection, ids: NDArray[np.int64], vectors: NDArray[np.float32]) -> None:
    """Insert or replace source-side vectors, of shape (n, d), by architecture id."""
    rows = np.ascontiguousarray(vectors, dtype="<f4")
    statement = insert(EMBEDDING).prefix_with("OR REPLACE", dialect="sqlite")
    for part in batched(range(len(ids))):
        connection.execute(statement, [{"architecture_id": int(ids[i]), "vector": rows[i].tobytes()} for i in part])


def put_vectors_stamp(connection: Connection, generation: int, digest: str) -> None:
    """Note which vector file belongs to this database."""
    connection.execute(update(STATE).values(vectors_generation=generation, vectors_sha256=digest))


def _new_id(result: CursorResult[Any]) -> int:
    key = result.inserted_primary_key
    assert key is not None
    return int(key[0])


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def forget_history(connection: Connection) -> None:
    """Drop runs and failures and start at generation 1, as a snapshot does."""
    connection.execute(delete(RUN))
    connection.execute(delete(FAILURE))
    connection.execute(update(STATE).values(generation=1, vectors_generation=-1, vectors_sha256=""))


def drop_unused(connection: Connection) -> None:
    """Delete the blocks that no architecture uses and the layers that no block uses."""
    used_blocks: set[int] = set()
    for row in connection.execute(select(ARCHITECTURE.c.dpiat_items, ARCHITECTURE.c.paper_items)):
        for packed in row:
            if packed is not None:
                used_blocks.update(unpack_ids(packed).tolist())
    used_layers: set[int] = set()
    for id_, packed in connection.execute(select(BLOCK.c.id, BLOCK.c.layer_ids)).all():
        if id_ in used_blocks:
            used_layers.update(unpack_ids(packed).tolist())
        else:
            connection.execute(delete(BLOCK).where(BLOCK.c.id == id_))
    for (id_,) in connection.execute(select(LAYER.c.id)).all():
        if id_ not in used_layers:
            connection.execute(delete(LAYER).where(LAYER.c.id == id_))
