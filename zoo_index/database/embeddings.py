"""The stored embedding: the basis that its vectors are made of, and the vectors made with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from zoo_index.database.packing import read_ids, rows_among
from zoo_index.database.schema import BASIS, EMBEDDING, standing

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Basis", "Landmark", "embedded_ids", "load_basis", "load_vectors", "standing_basis"]

_AT_ONCE = 10_000
"""Rows that are Python objects at a time."""


class Landmark(NamedTuple):
    """A layer that others are compared with: its kind, number of dimensions, and dimensions padded with 1."""

    kind: str
    n_dims: int
    dims: tuple[int, ...]


@dataclass(frozen=True)
class Basis:
    """What the vectors of the embedding are made of.

    Parameters
    ----------
    landmarks : tuple of Landmark
        Of length k.
    projection : ndarray of shape (k + 1, d), float32
        From profiles to vectors; the last row is added.
    """

    landmarks: tuple[Landmark, ...]
    projection: NDArray[np.float32]


def standing_basis(
    connection: Connection, measure: str, generation: int, features: int | None = None
) -> int | None:
    """Id of the basis of the embedding that stands in a generation; None if there is none yet.

    Of a version of the standardization, if one is given: vectors of another one cannot be compared with new ones.
    """
    query = select(BASIS.c.id).where(BASIS.c.measure == measure, standing(BASIS, generation))
    query = query if features is None else query.where(BASIS.c.features == features)
    return connection.execute(query).scalar_one_or_none()


def load_basis(connection: Connection, basis_id: int) -> Basis:
    """Load a basis of the embedding."""
    row = connection.execute(select(BASIS.c.landmarks, BASIS.c.projection).where(BASIS.c.id == basis_id)).one()
    landmarks = tuple(Landmark(kind, n_dims, tuple(dims)) for kind, n_dims, dims in json.loads(row.landmarks))
    return Basis(landmarks, np.frombuffer(row.projection, dtype="<f4").reshape(len(landmarks) + 1, -1))


def embedded_ids(connection: Connection, basis_id: int) -> NDArray[np.int64]:
    """Ids of the architectures that have a vector made with a basis, of shape (n,), ascending."""
    query = select(EMBEDDING.c.architecture_id).where(EMBEDDING.c.basis_id == basis_id)
    return read_ids(connection, query.order_by(EMBEDDING.c.architecture_id))


def load_vectors(
    connection: Connection, basis_id: int, wanted: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Load the vectors that were made with a basis.

    Parameters
    ----------
    connection : Connection
    basis_id : int
    wanted : ndarray of shape (m,), int64
        Ids of architectures, ascending; some may lack a vector.

    Returns
    -------
    ids : ndarray of shape (n,), int64, ascending
    vectors : ndarray of shape (n, d), float32
    """
    ids = np.intersect1d(embedded_ids(connection, basis_id), wanted, assume_unique=True)
    query = select(EMBEDDING.c.architecture_id, EMBEDDING.c.vector).where(EMBEDDING.c.basis_id == basis_id)
    query = query.order_by(EMBEDDING.c.architecture_id)
    rows: NDArray[np.float32] | None = None
    n = 0
    read = iter(rows_among(connection, query, EMBEDDING.c.architecture_id, ids.tolist()))
    while part := list(islice(read, _AT_ONCE)):
        block = np.frombuffer(b"".join(row[1] for row in part), dtype="<f4").reshape(len(part), -1)
        if rows is None:
            rows = np.empty((len(ids), block.shape[1]), dtype=np.float32)
        rows[n : n + len(part)] = block
        n += len(part)
    return ids, np.zeros((0, 0), dtype=np.float32) if rows is None else rows
