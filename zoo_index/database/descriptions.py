"""Architectures into the database: each distinct layer and block once, many architectures at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, delete, insert, select, update

from transfer.structure.records import Form
from transfer.structure.standardization import FORMS
from zoo_index.catalogues.description import FEATURES, Description, EncodedArchitecture, digest
from zoo_index.database.packing import pack_ids, pack_texts, rows_among
from zoo_index.database.schema import ARCHITECTURE, BLOCK, LAYER
from zoo_index.database.writes import drop_failure

__all__ = ["drop_prepared", "prepare", "prepared", "standing_versions"]

_CONTENT = ("n_params", "fingerprint", "dpiat_items", "paper_items", "facts", "wiring")
"""Columns that answers depend on."""


def standing_versions(connection: Connection, catalogue: str) -> dict[str, tuple[str, int]]:
    """Return version and features of every standing architecture of a catalogue, by name."""
    return _versions(connection, catalogue, is_prepared=False)


def prepared(connection: Connection, catalogue: str) -> dict[str, tuple[str, int]]:
    """Return version and features of the architectures that are prepared for the next generation, by name."""
    return _versions(connection, catalogue, is_prepared=True)


def _versions(connection: Connection, catalogue: str, *, is_prepared: bool) -> dict[str, tuple[str, int]]:
    columns = (ARCHITECTURE.c.name, ARCHITECTURE.c.catalogue_version, ARCHITECTURE.c.features)
    query = select(*columns).where(ARCHITECTURE.c.catalogue == catalogue, ARCHITECTURE.c.died.is_(None))
    born = ARCHITECTURE.c.born
    rows = connection.execute(query.where(born.is_(None) if is_prepared else born.is_not(None)))
    return {row.name: (row.catalogue_version, row.features) for row in rows}


def drop_prepared(connection: Connection, catalogue: str, versions: Mapping[str, str]) -> None:
    """Delete what was prepared under another version than the one that is listed now, or is listed no longer."""
    for name, made in prepared(connection, catalogue).items():
        if name not in versions or made != (versions[name], FEATURES):
            _delete_prepared(connection, catalogue, name)


def prepare(
    connection: Connection, catalogue: str, version: str | Mapping[str, str], descriptions: Sequence[Description]
) -> int:
    """Put architectures of distinct names in for the next generation.

    One that is what stands already only gets its version noted.

    Parameters
    ----------
    connection : Connection
    catalogue : str
    version : str or mapping of str to str
        Of all of them, or of each by name.
    descriptions : sequence of Description

    Returns
    -------
    int
        Number of architectures that differ from what stands.
    """
    names = [description.name for description in descriptions]
    assert len(set(names)) == len(names)
    for name in names:
        drop_failure(connection, catalogue, name)
        _delete_prepared(connection, catalogue, name)
    packed = {
        form: _put_items(connection, form, [encoded for d in descriptions if (encoded := d.form(form))])
        for form in FORMS
    }
    known = _known(connection, catalogue, names)
    fresh = []
    for description in descriptions:
        dpiat, paper = description.dpiat, description.paper
        content = {
            "n_params": description.n_params,
            "fingerprint": dpiat.fingerprint,
            "dpiat_items": packed["dpiat"][dpiat],
            "paper_items": packed["paper"][paper] if paper else None,
            "facts": pack_texts(description.facts) if description.facts else None,
            "wiring": pack_texts(description.wiring) if description.wiring else None,
        }
        of_its_own = version if isinstance(version, str) else version[description.name]
        made = {"catalogue_version": of_its_own, "features": FEATURES}
        stands = known.get(description.name)
        if stands is not None and stands["is_standing"] and all(stands[key] == content[key] for key in _CONTENT):
            connection.execute(update(ARCHITECTURE).where(ARCHITECTURE.c.id == stands["id"]).values(**made))
            continue
        fresh.append(
            {
                "catalogue": catalogue,
                "name": description.name,
                **made,
                **content,
                "n_dpiat": dpiat.n_scoring,
                "n_paper": paper.n_scoring if paper else 0,
                "revision": stands["revision"] + 1 if stands else 1,
            }
        )
    if fresh:
        connection.execute(insert(ARCHITECTURE), fresh)
    return len(fresh)


def _delete_prepared(connection: Connection, catalogue: str, name: str) -> None:
    connection.execute(
        delete(ARCHITECTURE).where(
            ARCHITECTURE.c.catalogue == catalogue, ARCHITECTURE.c.name == name, ARCHITECTURE.c.born.is_(None)
        )
    )


def _known(connection: Connection, catalogue: str, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Newest revision of architectures that stand or stood, by name."""
    columns = [ARCHITECTURE.c[key] for key in ("id", "name", "revision", "died", *_CONTENT)]
    query = (
        select(*columns)
        .where(ARCHITECTURE.c.catalogue == catalogue, ARCHITECTURE.c.born.is_not(None))
        .order_by(ARCHITECTURE.c.revision)
    )
    rows = (dict(row._mapping) for row in rows_among(connection, query, ARCHITECTURE.c.name, names))
    return {row["name"]: {**row, "is_standing": row["died"] is None} for row in rows}


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
        rows = [{"form": form, "digest": key, **wanted[key]} for key in missing]
        connection.execute(insert(table), rows)
        found |= find(missing)
    return found
