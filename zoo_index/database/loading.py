"""From the database to what the matcher works on: tables for ranking, single architectures for planning."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import null, select

from transfer.alignment.tables import MAX_DIMS, Table, kind_code, offsets, padded
from transfer.structure.records import Architecture, Block, Form, Item, Layer, Tensor
from zoo_index.catalogues.wiring_text import read_wiring
from zoo_index.database.packing import ID_BYTES, read_ids, rows_among, unpack_ids, unpack_texts
from zoo_index.database.schema import ARCHITECTURE, BLOCK, LAYER, standing

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

__all__ = [
    "Parts",
    "StoredTable",
    "architecture_ids",
    "load_architecture",
    "load_architectures",
    "load_shapes",
    "load_table",
    "with_header_alone",
]


@dataclass(frozen=True)
class StoredTable:
    """All architectures of the index in one form.

    Parameters
    ----------
    ids : ndarray of shape (n,), int64
        Database ids, ascending; row r of `table` is architecture ``ids[r]``.
    n_scoring : ndarray of shape (n,), int64
    table : Table
    """

    ids: NDArray[np.int64]
    n_scoring: NDArray[np.int64]
    table: Table

    def rows(self, ids: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of the given ids, all of which must be present."""
        wanted = np.asarray(ids, dtype=np.int64)
        rows = np.searchsorted(self.ids, wanted)
        assert (self.ids[rows] == wanted).all()
        return rows.astype(np.int64)

    def select(self, ids: Sequence[int] | NDArray[np.int64]) -> StoredTable:
        """Return a table of some architectures, in the given order."""
        rows = self.rows(ids)
        return StoredTable(self.ids[rows], self.n_scoring[rows], self.table.select(rows))


def load_table(connection: Connection, form: Form, of: int | NDArray[np.int64]) -> StoredTable:
    """Load the architectures that have the given form.

    Parameters
    ----------
    connection : Connection
    form : {'dpiat', 'paper'}
    of : int or ndarray of shape (n,), int64
        All of this generation, or those of some ids, ascending; then only the blocks and layers that they use are
        read.
    """
    ids = None if isinstance(of, int) else of
    items_of = ARCHITECTURE.c.dpiat_items if form == "dpiat" else ARCHITECTURE.c.paper_items
    count = ARCHITECTURE.c.n_dpiat if form == "dpiat" else ARCHITECTURE.c.n_paper
    query: Any = select(ARCHITECTURE.c.id, count, items_of).where(items_of.is_not(None)).order_by(ARCHITECTURE.c.id)
    query = query.where(standing(ARCHITECTURE, of)) if isinstance(of, int) else query
    architectures, n_scoring, packed = _columns(connection, query, ARCHITECTURE.c.id, ids)
    if any(n < 0 for n in n_scoring):
        raise ValueError("an architecture has fewer layers than none")
    start, item = _lists(packed)
    wanted = None if ids is None else np.unique(item)
    query = select(BLOCK.c.id, BLOCK.c.single, BLOCK.c.layer_ids).order_by(BLOCK.c.id)
    query = query.where(BLOCK.c.form == form) if ids is None else query  # else SQLite would look at all of the form
    blocks, single, packed = _columns(connection, query, BLOCK.c.id, wanted)
    item_start, item_layer = _lists(packed)
    if any(not one or (alone and len(one) != ID_BYTES) for one, alone in zip(packed, single, strict=True)):
        raise ValueError("a block has no layers, or is a single layer and has several")
    wanted = None if ids is None else np.unique(item_layer)
    query = select(LAYER.c.id, LAYER.c.canonical).order_by(LAYER.c.id)
    query = query.where(LAYER.c.form == form) if ids is None else query
    layers, canonical = _columns(connection, query, LAYER.c.id, wanted)
    layer_kind = np.empty(len(layers), dtype=np.int64)
    layer_dims = np.ones((len(layers), MAX_DIMS))
    for row, (kind, tensors) in enumerate(json.loads(f"[{','.join(canonical)}]")):
        dims = tuple(tensors[0][1]) if tensors else None
        layer_kind[row] = kind_code(kind, dims)
        layer_dims[row] = padded(kind, dims)
    return StoredTable(
        ids=np.array(architectures, dtype=np.int64),
        n_scoring=np.array(n_scoring, dtype=np.int64),
        table=Table(
            form=form,
            layer_kind=layer_kind,
            layer_dims=layer_dims,
            item_start=item_start,
            item_layer=_places(layers, item_layer, "layer"),
            item_single=np.array(single, dtype=np.bool_),
            start=start,
            item=_places(blocks, item, "block"),
        ),
    )


def _places(ids: Sequence[int], wanted: NDArray[np.int64], kind: str) -> NDArray[np.int64]:
    """Where each of some ids stands among ascending ones; what scores does not look whether it stands there."""
    known = np.array(ids, dtype=np.int64)
    places = np.searchsorted(known, wanted)
    if len(wanted) and (not len(known) or (known[np.minimum(places, len(known) - 1)] != wanted).any()):
        raise ValueError(f"a {kind} that is named is missing")
    return places.astype(np.int64)


def _columns(
    connection: Connection, query: Any, key: ColumnElement[int], ids: NDArray[np.int64] | None
) -> Sequence[Sequence[Any]]:
    """Columns of a query, of all rows or of those of some ids, which must be ascending."""
    rows = _rows(connection, query, key, ids)
    return list(zip(*rows, strict=True)) or [()] * len(query.selected_columns)


def _rows(
    connection: Connection, query: Any, key: ColumnElement[int], ids: NDArray[np.int64] | None
) -> Iterable[Any]:
    return connection.execute(query) if ids is None else rows_among(connection, query, key, ids.tolist())


def _lists(packed: Sequence[bytes]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where each list of ids begins, with the end of the last one, and the ids of all lists in a row."""
    if any(len(one) % ID_BYTES for one in packed):  # else parts of one list would be taken for the next one's
        raise ValueError("a list of ids has a part of one")
    return offsets(len(one) // ID_BYTES for one in packed), unpack_ids(b"".join(packed))


def load_architecture(connection: Connection, architecture_id: int, form: Form) -> Architecture | None:
    """Load one architecture; its tensors are named by their number. None if it lacks the form."""
    return load_architectures(connection, [architecture_id], form).get(architecture_id)


def load_architectures(
    connection: Connection, ids: Sequence[int], form: Form, parts: Parts | None = None
) -> dict[int, Architecture]:
    """Load architectures by id, those that have the form; their tensors are named by their number.

    Parameters
    ----------
    connection : Connection
    ids : sequence of int
    form : {'dpiat', 'paper'}
    parts : Parts, optional
        What was read before; what is read now joins it.
    """
    column = ARCHITECTURE.c.dpiat_items if form == "dpiat" else ARCHITECTURE.c.paper_items
    told = (ARCHITECTURE.c.facts, ARCHITECTURE.c.wiring) if form == "dpiat" else (null(), null())
    query = select(ARCHITECTURE.c.id, *told).where(column.is_not(None))
    rows = _rows(connection, query, ARCHITECTURE.c.id, np.unique(np.array(ids, dtype=np.int64)))
    seen = {id_: [unpack_texts(packed) if packed else () for packed in both] for id_, *both in rows}
    shapes = load_shapes(connection, list(seen), form, parts)
    return {id_: _named(shapes[id_], *both) for id_, both in seen.items()}


@dataclass(frozen=True)
class Parts:
    """Layers, and items of architectures, that were read before, by their ids; architectures share them."""

    layers: dict[int, Layer] = field(default_factory=dict)
    items: dict[int, Item] = field(default_factory=dict)


def load_shapes(
    connection: Connection, ids: Sequence[int], form: Form, parts: Parts | None = None
) -> dict[int, Architecture]:
    """Load architectures as `load_architectures`, but without names and facts: to be compared only, and fast."""
    parts = parts or Parts()
    column = ARCHITECTURE.c.dpiat_items if form == "dpiat" else ARCHITECTURE.c.paper_items
    query = select(ARCHITECTURE.c.id, column).where(column.is_not(None))
    found, packed = _columns(connection, query, ARCHITECTURE.c.id, np.unique(np.array(ids, dtype=np.int64)))
    wanted = np.unique(_lists(packed)[1])
    missing = np.array([id_ for id_ in wanted.tolist() if id_ not in parts.items], dtype=np.int64)
    blocks = [
        (id_, single, unpack_ids(one).tolist())
        for id_, single, one in _rows(connection, _BLOCKS, BLOCK.c.id, missing)
    ]
    wanted = np.unique([layer for _, _, layers in blocks for layer in layers])
    missing = np.array([id_ for id_ in wanted.tolist() if id_ not in parts.layers], dtype=np.int64)
    new, texts = _columns(connection, _LAYERS, LAYER.c.id, missing)
    canonical = json.loads(f"[{','.join(texts)}]")
    parts.layers.update(zip(new, map(Layer.from_canonical, canonical), strict=True))
    for id_, single, layers in blocks:
        members = tuple(parts.layers[layer] for layer in layers)
        parts.items[id_] = members[0] if single else Block(members)
    return {
        id_: Architecture(form, tuple(parts.items[item] for item in unpack_ids(one).tolist()))
        for id_, one in zip(found, packed, strict=True)
    }


_BLOCKS = select(BLOCK.c.id, BLOCK.c.single, BLOCK.c.layer_ids)
_LAYERS = select(LAYER.c.id, LAYER.c.canonical)


def _named(shapes: Architecture, facts: Sequence[str], wiring: Sequence[str]) -> Architecture:
    """Give tensors the names that tell them apart, numbers, and layers what was seen of them."""
    kinds = list(shapes.layers())
    first = list(accumulate((len(kind.tensors) for kind in kinds), initial=0))
    around = read_wiring(wiring, list(map(str, first))) if wiring else [None] * len(kinds)
    if any(len(told) < len(kinds) for told in (around, facts or around)):
        raise ValueError("fewer layers are told of than there are")
    named = (
        Layer(
            kind.kind,
            tuple([Tensor(t.role, t.shape, str(i)) for i, t in enumerate(kind.tensors, n)]),
            path=str(n),
            facts=told,
            wiring=wired,
        )
        for kind, n, told, wired in zip(kinds, first, facts or [""] * len(kinds), around, strict=False)
    )
    items = (
        Block(tuple(islice(named, len(item.layers)))) if isinstance(item, Block) else next(named)
        for item in shapes.items
    )
    return Architecture(shapes.form, tuple(items))


def architecture_ids(connection: Connection, generation: int) -> NDArray[np.int64]:
    """Ids of the architectures of a generation, of shape (n,), ascending."""
    query = select(ARCHITECTURE.c.id).where(standing(ARCHITECTURE, generation)).order_by(ARCHITECTURE.c.id)
    return read_ids(connection, query)


def with_header_alone(connection: Connection, ids: Sequence[int]) -> set[int]:
    """Ids of the architectures, among some, that are known by a header alone: no module was there to be run."""
    query = select(ARCHITECTURE.c.id).where(ARCHITECTURE.c.paper_items.is_(None))
    return {id_ for (id_,) in _rows(connection, query, ARCHITECTURE.c.id, np.unique(np.array(ids, dtype=np.int64)))}
