"""Keep the embedding complete: every architecture has a vector made with the landmarks there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from zoo_index.database import loading, queries, writes

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from transfer.structure.records import Architecture
    from zoo_index.database.store import Store

__all__ = ["Progress", "embed_missing"]

Progress = Callable[[str, int, int], None]
"""Called with a phase, the number done and the number planned."""

_REFIT_FRACTION = 0.1
"""Share of new architectures above which the landmarks may no longer be spread over the zoo."""


def embed_missing(target: Store, progress: Progress | None = None) -> int:
    """Give every architecture its source-side vector.

    A few new ones are projected onto the landmarks there are; when more than a tenth of the index is new, or a
    landmark changed, landmarks are chosen again. Nothing is locked while vectors are computed; if the index changes
    meanwhile, they are computed again.

    Returns
    -------
    int
        Number of architectures that got a vector.
    """
    while True:
        with target.reading() as connection:
            if _is_complete(connection):
                return 0
            # imported here: with nothing to do, a refresh must not wait for the matcher
            from zoo_index.index import embedding

            generation = queries.state(connection)[0]
            table = loading.load_table(connection, "dpiat")
            embedded = loading.embedded_ids(connection)
            basis = loading.load_basis(connection, embedding.MEASURE)
        missing = np.setdiff1d(table.ids, embedded)
        is_refit = (
            basis is None
            or len(missing) > _REFIT_FRACTION * len(table.ids)
            or not np.isin(basis.landmark_ids, embedded).all()
        )

        def load(id_: int) -> Architecture:
            with target.reading() as connection:
                architecture = loading.load_architecture(connection, id_, "dpiat")
            assert architecture is not None  # every stored architecture has this form
            return architecture

        def report(done: int, planned: int) -> None:
            if progress:
                progress("embedding", done, planned)

        if basis is None or is_refit:
            landmark_ids, known = embedding.choose_landmarks(table, load)
            basis, vectors = embedding.fit(table, load, landmark_ids, known, report)
            ids = table.ids
        else:
            landmarks = [load(id_) for id_ in basis.landmark_ids.tolist()]
            vectors = embedding.source_vectors([load(id_) for id_ in missing.tolist()], basis, landmarks)
            ids = missing
        by_id = dict(zip(ids.tolist(), vectors, strict=True))
        with target.writing() as connection:
            if queries.state(connection)[0] != generation:
                continue
            if is_refit:
                writes.put_basis(connection, embedding.MEASURE, basis.landmark_ids.tolist(), basis.projection)
            writes.put_vectors(connection, by_id)
            writes.raise_generation(connection)
        return len(by_id)


def _is_complete(connection: Connection) -> bool:
    """Whether every architecture has a vector and every landmark is still there."""
    ids = {id_ for id_, _, _ in queries.fingerprints(connection)}
    landmarks = loading.landmark_ids(connection)
    return (
        ids == set(loading.embedded_ids(connection).tolist())
        and (not ids or landmarks is not None)
        and (landmarks is None or ids >= set(landmarks.tolist()))
    )
