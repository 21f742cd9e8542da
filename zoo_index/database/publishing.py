"""The switch: what was prepared stands from the next generation on, all of it in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from zoo_index.catalogues.catalogue import CatalogueEntry
from zoo_index.database.packing import batched, rows_among
from zoo_index.database.schema import ALIAS, ARCHITECTURE, BASIS, EMBEDDING, ENTRY, STATE, standing
from zoo_index.database.writes import raise_generation

__all__ = ["Changes", "Listing", "next_architectures", "publish", "retire"]


@dataclass(frozen=True)
class Listing:
    """What a catalogue lists now.

    Parameters
    ----------
    catalogue : str
    entries : sequence of CatalogueEntry
    is_whole : bool
        Whether what is not listed is gone; a part of a catalogue says nothing about the rest.
    aliases : mapping of str to str
        Names that the catalogue gave up, and what they are called now.
    """

    catalogue: str
    entries: Sequence[CatalogueEntry]
    is_whole: bool
    aliases: Mapping[str, str] = field(default_factory=dict)

    @property
    def architectures(self) -> dict[str, CatalogueEntry]:
        """First entry of each architecture."""
        found: dict[str, CatalogueEntry] = {}
        for entry in self.entries:
            found.setdefault(entry.architecture, entry)
        return found


@dataclass
class Changes:
    """What a switch changed: names of architectures, and a number of entries."""

    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    retired: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    n_entries: int = 0

    def __bool__(self) -> bool:
        """Whether there is any."""
        return bool(self.new or self.changed or self.retired or self.renamed or self.n_entries)


def next_architectures(connection: Connection, listings: Iterable[Listing]) -> list[int]:
    """Ids of the architectures that would stand after `publish`, ascending."""
    found: list[int] = []
    known = {listing.catalogue: listing for listing in listings}
    rows = connection.execute(
        select(ARCHITECTURE.c.id, ARCHITECTURE.c.catalogue, ARCHITECTURE.c.name, ARCHITECTURE.c.born).where(
            ARCHITECTURE.c.died.is_(None)
        )
    ).all()
    replaced = {(row.catalogue, row.name) for row in rows if row.born is None and row.catalogue in known}
    listed = {name: listing.architectures for name, listing in known.items()}
    for row in rows:
        listing = known.get(row.catalogue)
        if row.born is None:
            stays = listing is not None and row.name in listed[row.catalogue]
        else:
            gone = listing is not None and listing.is_whole and row.name not in listed[row.catalogue]
            stays = (row.catalogue, row.name) not in replaced and not gone
        if stays:
            found.append(row.id)
    return sorted(found)


def publish(
    connection: Connection, listings: Sequence[Listing], *, basis: int | None = None, run: int | None = None
) -> tuple[Changes, int]:
    """Let what was prepared stand, and what is no longer listed retire.

    Parameters
    ----------
    connection : Connection
    listings : sequence of Listing
        One a catalogue; the others stay as they are.
    basis : int, optional
        Id of the prepared basis that takes the place of the standing one.
    run : int, optional
        Which made the generation.

    Returns
    -------
    changes : Changes
    generation : int
        The one that readers see now; the same as before if nothing changed and the index was filled.
    """
    before = int(connection.execute(select(STATE.c.generation)).scalar_one())
    changes = Changes()
    for listing in listings:
        _architectures(connection, listing, before + 1, changes)
        changes.n_entries += _entries(connection, listing, before + 1)
        _aliases(connection, listing, before + 1, changes)
    if basis is not None:
        connection.execute(
            update(BASIS).where(BASIS.c.born.is_not(None), BASIS.c.died.is_(None)).values(died=before + 1)
        )
        connection.execute(update(BASIS).where(BASIS.c.id == basis).values(born=before + 1))
        # readers of this generation may still use the last basis, but not those before it
        old = select(BASIS.c.id).where(BASIS.c.died <= before)
        connection.execute(delete(EMBEDDING).where(EMBEDDING.c.basis_id.in_(old)))
    if not changes and basis is None and before:
        return changes, before
    return changes, raise_generation(connection, run)


def retire(connection: Connection, catalogue: str, name: str, run: int) -> int | None:
    """Retire an architecture of a catalogue with its entries; return the new generation, None if there is none."""
    number = int(connection.execute(select(STATE.c.generation)).scalar_one())
    same = select(ARCHITECTURE.c.id).where(
        ARCHITECTURE.c.catalogue == catalogue, ARCHITECTURE.c.name == name, standing(ARCHITECTURE, number)
    )
    id_ = connection.execute(same).scalar()
    if id_ is None:
        return None
    _set(connection, [id_], died=number + 1)
    gone = (ENTRY.c.architecture_id == id_, ENTRY.c.died.is_(None))
    connection.execute(update(ENTRY).where(*gone).values(died=number + 1))
    return raise_generation(connection, run)


def _architectures(connection: Connection, listing: Listing, number: int, changes: Changes) -> None:
    columns = (ARCHITECTURE.c.id, ARCHITECTURE.c.name, ARCHITECTURE.c.fingerprint, ARCHITECTURE.c.born)
    mine = select(*columns).where(ARCHITECTURE.c.catalogue == listing.catalogue, ARCHITECTURE.c.died.is_(None))
    rows = connection.execute(mine.order_by(ARCHITECTURE.c.id)).all()
    listed = listing.architectures
    old = {row.name: row for row in rows if row.born is not None}
    ready = {row.name: row for row in rows if row.born is None and row.name in listed}
    gone = [row for name, row in old.items() if listing.is_whole and name not in listed]
    replaced = [old[name] for name in ready if name in old]
    _set(connection, [row.id for row in [*gone, *replaced]], died=number)
    _set(connection, [row.id for row in ready.values()], born=number)
    fresh = [name for name in ready if name not in old]
    changes.new += fresh
    changes.changed += [row.name for row in replaced]
    changes.retired += [row.name for row in gone]
    changes.renamed |= _renamed(
        {row.name: row.fingerprint for row in gone}, {name: ready[name].fingerprint for name in fresh}
    )


def _renamed(gone: Mapping[str, str], new: Mapping[str, str]) -> dict[str, str]:
    """Names that vanished while exactly one of the same structure appeared."""
    found = {}
    for name, fingerprint in gone.items():
        heirs = [heir for heir, print_ in new.items() if print_ == fingerprint]
        if len(heirs) == 1 and sum(print_ == fingerprint for print_ in gone.values()) == 1:
            found[name] = heirs[0]
    return found


def _set(connection: Connection, ids: Sequence[int], **values: int) -> None:
    for part in batched(ids):
        connection.execute(update(ARCHITECTURE).where(ARCHITECTURE.c.id.in_(part)).values(**values))


def _entries(connection: Connection, listing: Listing, number: int) -> int:
    """Make the standing entries of a catalogue those that it lists, where their architecture stands."""
    names = None if listing.is_whole else list(listing.architectures)
    query = select(ARCHITECTURE.c.name, ARCHITECTURE.c.id).where(
        ARCHITECTURE.c.catalogue == listing.catalogue, standing(ARCHITECTURE, number)
    )
    rows: Iterable[Any] = (
        connection.execute(query) if names is None else rows_among(connection, query, ARCHITECTURE.c.name, names)
    )
    ids = {row.name: row.id for row in rows}
    wanted: dict[str, dict[str, Any]] = {}
    positions: dict[str, int] = {}
    for entry in listing.entries:
        if entry.architecture in ids:
            position = positions[entry.architecture] = positions.get(entry.architecture, -1) + 1
            row = asdict(entry)
            del row["architecture"]
            wanted[entry.name] = {
                **row,
                "architecture_id": ids[entry.architecture],
                "catalogue": listing.catalogue,
                "position": position,
            }
    for name in _taken(connection, listing.catalogue, list(wanted), number):
        del wanted[name]
    query = select(ENTRY).where(ENTRY.c.catalogue == listing.catalogue, standing(ENTRY, number))
    found: Iterable[Any] = (
        connection.execute(query) if names is None else rows_among(connection, query, ENTRY.c.name, list(wanted))
    )
    stored = {row.name: dict(row._mapping) for row in found}
    hidden = ("id", "born", "died")
    same = {
        name
        for name, row in stored.items()
        if wanted.get(name) == {key: value for key, value in row.items() if key not in hidden}
    }
    stale = [row["id"] for name, row in stored.items() if name not in same and (listing.is_whole or name in wanted)]
    fresh = [{**row, "born": number} for name, row in wanted.items() if name not in same]
    for part in batched(stale):
        connection.execute(update(ENTRY).where(ENTRY.c.id.in_(part)).values(died=number))
    if fresh:
        connection.execute(insert(ENTRY), fresh)
    return len({row["name"] for row in fresh} | {name for name, row in stored.items() if row["id"] in set(stale)})


def _taken(connection: Connection, catalogue: str, names: Sequence[str], number: int) -> list[str]:
    """Names that entries of other catalogues have: who came first keeps it."""
    query = select(ENTRY.c.name).where(ENTRY.c.catalogue != catalogue, standing(ENTRY, number))
    return [row.name for row in rows_among(connection, query, ENTRY.c.name, names)]


def _aliases(connection: Connection, listing: Listing, number: int, changes: Changes) -> None:
    if not listing.is_whole:
        return
    known = select(ALIAS.c.name, ALIAS.c.target).where(ALIAS.c.catalogue == listing.catalogue)
    stored = {row.name: row.target for row in connection.execute(known)}
    listed = listing.architectures
    all_known: dict[str, str] = {**stored, **changes.renamed, **dict(listing.aliases)}
    wanted = {name: target for name, target in all_known.items() if name not in listed}
    for name, target in wanted.items():
        if stored.get(name) == target:
            continue
        connection.execute(delete(ALIAS).where(ALIAS.c.catalogue == listing.catalogue, ALIAS.c.name == name))
        connection.execute(
            insert(ALIAS).values(catalogue=listing.catalogue, name=name, target=target, generation=number)
        )
    for name in stored.keys() - wanted.keys():
        connection.execute(delete(ALIAS).where(ALIAS.c.catalogue == listing.catalogue, ALIAS.c.name == name))
