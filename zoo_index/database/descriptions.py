"""Architectures into the database: each distinct layer and block once, many architectures at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select, update

from transfer.structure.records import Form
from transfer.structure.standardization import FORMS
from zoo_index.catalogues.description import FEATURES, Description, EncodedArchitecture, digest
from zoo_index.database.packing import pack_ids, pack_texts, rows_among
from zoo_index.database.schema import ARCHITECTURE, BLOCK, EMBEDDING, FAILURE, LAYER

__all__ = ["put_description", "put_descriptions"]


def put_description(
    connection: Connection, catalogue: str, catalogue_version: str, description: Description
) -> int:
    """Insert or replace an architecture; return its id, which stays when it is replaced."""
    return put_descriptions(connection, catalogue, catalogue_version, [description])[0]


def put_descriptions(
    connection: Connection, catalogue: str, catalogue_version: str, descriptions: Sequence[Description]
) -> list[int]:
    """Insert or replace architectures of distinct names; return their ids, which stay when they are replaced."""
    names = [description.name for description in descriptions]
    assert len(set(names)) == len(names)
    packed = {
        form: _put_items(connection, form, [encoded for d in descriptions if (encoded := d.form(form))])
        for form in FORMS
    }
    rows = []
    for description in descriptions:
        dpiat, paper = description.dpiat, description.paper
        rows.append(
            {
                "catalogue": catalogue,
                "name": description.name,
                "catalogue_version": catalogue_version,
                "features": FEATURES,
                "fingerprint": dpiat.fingerprint,
                "n_params": description.n_params,
                "n_dpiat": dpiat.n_scoring,
                "n_paper": paper.n_scoring if paper else 0,
                "dpiat_items": packed["dpiat"][dpiat],
                "paper_items": packed["paper"][paper] if paper else None,
                "facts": pack_texts(description.facts) if description.facts else None,
                "wiring": pack_texts(description.wiring) if description.wiring else None,
            }
        )
    known = _architectures(connection, catalogue, names)
    for name in names:
        connection.execute(delete(FAILURE).where(FAILURE.c.catalogue == catalogue, FAILURE.c.name == name))
    if fresh := [row for row in rows if row["name"] not in known]:
        connection.execute(insert(ARCHITECTURE), fresh)
    for row in rows:
        if row["name"] in known:
            id_, fingerprint = known[str(row["name"])]
            connection.execute(update(ARCHITECTURE).where(ARCHITECTURE.c.id == id_).values(**row))
            if fingerprint != row["fingerprint"]:
                connection.execute(delete(EMBEDDING).where(EMBEDDING.c.architecture_id == id_))
    stored = _architectures(connection, catalogue, names)
    return [stored[name][0] for name in names]


def _architectures(connection: Connection, catalogue: str, names: Sequence[str]) -> dict[str, tuple[int, str]]:
    """Id and fingerprint of stored architectures by name."""
    query = select(ARCHITECTURE.c.name, ARCHITECTURE.c.id, ARCHITECTURE.c.fingerprint).where(
        ARCHITECTURE.c.catalogue == catalogue
    )
    rows = rows_among(connection, query, ARCHITECTURE.c.name, names)
    return {row.name: (row.id, row.fingerprint) for row in rows}


def _put_items(
    connection: Connection, form: Form, architectures: Sequence[EncodedArchitecture]
) -> dict[EncodedArchitecture, bytes]:
    """Insert the layers and blocks that are missing; return the packed ids of the items of each architecture."""
    items = {item for encoded in architectures for item in encoded.items}
    texts = {text_: digest(text_) for item in items for text_ in item.layers}
    layer_ids = _ids(connection, LAYER, form, {key: {"canonical": text_} for text_, key in texts.items()})
    keys = {item: digest("layer" if item.single else "block", *item.layers) for item in items}
    block_ids = _ids(
        connection,
        BLOCK,
        form,
        {
            key: {"single": item.single, "layer_ids": pack_ids(layer_ids[texts[t]] for t in item.layers)}
            for item, key in keys.items()
        },
    )
    return {
        encoded: pack_ids(block_ids[keys[encoded.items[i]]] for i in encoded.order) for encoded in architectures
    }


def _ids(
    connection: Connection,
    table: Table,
    form: Form,
    wanted: dict[str, dict[str, Any]],
) -> dict[str, int]:
    """Ids of rows by digest; missing rows are inserted."""
    query = select(table.c.digest, table.c.id).where(table.c.form == form)

    def find(keys: Sequence[str]) -> dict[str, int]:
        return {row.digest: row.id for row in rows_among(connection, query, table.c.digest, keys)}

    found = find(list(wanted))
    missing = [key for key in wanted if key not in found]
    if missing:
        connection.execute(insert(table), [{"form": form, "digest": key, **wanted[key]} for key in missing])
        found |= find(missing)
    return found
