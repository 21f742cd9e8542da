"""Rows into the index: every function works inside the caller's transaction (`Store.writing`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, delete, func, insert, select, update

from zoo_index.catalogues.description import FEATURES
from zoo_index.database.clock import now
from zoo_index.database.packing import batched, insert_into
from zoo_index.database.schema import (
    ARCHITECTURE,
    BASIS,
    EMBEDDING,
    ENTRY,
    FAILURE,
    GENERATION,
    METRIC,
    STATE,
    standing,
)

if TYPE_CHECKING:
    from zoo_index.database.embeddings import Basis

__all__ = [
    "drop_failure",
    "drop_failures",
    "drop_prepared_bases",
    "put_basis",
    "put_failure",
    "put_metrics",
    "put_recall",
    "put_vectors",
    "raise_generation",
]


def raise_generation(connection: Connection, run: int | None = None) -> int:
    """Let readers see what was given the number of the next generation; return it."""
    number = int(connection.execute(select(STATE.c.generation)).scalar_one()) + 1
    n_architectures, n_entries = (
        connection.execute(select(func.count()).select_from(table).where(standing(table, number))).scalar_one()
        for table in (ARCHITECTURE, ENTRY)
    )
    connection.execute(
        insert(GENERATION).values(
            number=number, made_utc=now(), run_id=run, n_architectures=n_architectures, n_entries=n_entries
        )
    )
    connection.execute(update(STATE).values(generation=number))
    return number


def put_failure(connection: Connection, catalogue: str, catalogue_version: str, name: str, error: str) -> None:
    """Note that an architecture could not be standardized, once more if it could not before."""
    same = (FAILURE.c.catalogue == catalogue, FAILURE.c.name == name)
    tries = connection.execute(select(FAILURE.c.n_tries).where(*same)).scalar() or 0
    drop_failure(connection, catalogue, name)
    connection.execute(
        insert(FAILURE).values(
            catalogue=catalogue,
            name=name,
            catalogue_version=catalogue_version,
            error=error,
            n_tries=tries + 1,
            last_utc=now(),
        )
    )


def drop_failure(connection: Connection, catalogue: str, name: str) -> None:
    """Forget that an architecture failed."""
    connection.execute(delete(FAILURE).where(FAILURE.c.catalogue == catalogue, FAILURE.c.name == name))


def drop_failures(connection: Connection, catalogue: str, keep: Iterable[str]) -> None:
    """Forget the failures of architectures that a catalogue no longer lists."""
    kept = set(keep)
    rows = connection.execute(select(FAILURE.c.id, FAILURE.c.name).where(FAILURE.c.catalogue == catalogue))
    for id_ in [row.id for row in rows if row.name not in kept]:
        connection.execute(delete(FAILURE).where(FAILURE.c.id == id_))


def put_metrics(connection: Connection, dataset: str, results: Sequence[Mapping[str, Any]]) -> None:
    """Replace the results on a data set."""
    connection.execute(delete(METRIC).where(METRIC.c.dataset == dataset))
    connection.execute(insert(METRIC), [{"dataset": dataset, **result} for result in results])


def put_basis(connection: Connection, measure: str, basis: Basis, recall: float) -> int:
    """Prepare what the embedding of the next generation is made of; return its id."""
    result = connection.execute(
        insert(BASIS).values(
            measure=measure,
            features=FEATURES,
            landmarks=json.dumps(basis.landmarks, separators=(",", ":")),
            projection=basis.projection.astype("<f4").tobytes(),
            recall=recall,
        )
    )
    assert result.inserted_primary_key is not None
    return int(result.inserted_primary_key[0])


def drop_prepared_bases(connection: Connection) -> None:
    """Delete what unfinished runs prepared."""
    connection.execute(delete(BASIS).where(BASIS.c.born.is_(None)))


def put_recall(connection: Connection, basis_id: int, recall: float) -> None:
    """Note how much of the true best sources a shortlist holds."""
    connection.execute(update(BASIS).where(BASIS.c.id == basis_id).values(recall=recall))


def put_vectors(
    connection: Connection, basis_id: int, ids: NDArray[np.int64], vectors: NDArray[np.float32]
) -> None:
    """Insert or replace source-side vectors, of shape (n, d), by architecture id."""
    rows = np.ascontiguousarray(vectors, dtype="<f4")
    statement = insert_into(connection, EMBEDDING)
    statement = statement.on_conflict_do_update(
        index_elements=[EMBEDDING.c.basis_id, EMBEDDING.c.architecture_id],
        set_={"vector": statement.excluded.vector},
    )
    for part in batched(range(len(ids))):
        connection.execute(
            statement,
            [{"basis_id": basis_id, "architecture_id": int(ids[i]), "vector": rows[i].tobytes()} for i in part],
        )
