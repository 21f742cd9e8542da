"""Tables of the index. Only the Alembic migrations create them; this is how the code reads them.

The content has generations. A row of an architecture, an entry or a basis stands from the generation `born` up to,
but not including, the generation `died`; a row without `born` is prepared for the next one and no reader sees it.
So a refresh fills the tables in many small transactions, and one last transaction, which sets the numbers, makes
all of it visible at once. A reader that keeps to its generation reads the same for as long as it likes.

Layers and blocks are stored once, however many architectures share them. Lists of ids are packed as
little-endian int32, so that a query loads them without a Python object per item.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    and_,
    or_,
    text,
)

__all__ = [
    "ALIAS",
    "ARCHITECTURE",
    "BASIS",
    "BLOCK",
    "COLLECTION",
    "EMBEDDING",
    "ENTRY",
    "FAILURE",
    "GENERATION",
    "LAYER",
    "LEASE",
    "METADATA",
    "METRIC",
    "RUN",
    "STATE",
    "WATCH",
    "standing",
]

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _key() -> Column[int]:
    return Column("id", Integer, primary_key=True)


def _text(name: str, *, index: bool = False, primary_key: bool = False) -> Column[str]:
    return Column(name, Text, nullable=False, index=index or None, primary_key=primary_key)


def _number(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False)


def _bytes(name: str, *, nullable: bool = False) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=nullable)


def _since_until() -> list[Column[int]]:
    return [Column("born", Integer), Column("died", Integer)]


def _one_at_a_time(name: str, which: str, *columns: str) -> Index:
    """Index that allows one row of its columns among those of a condition."""
    return Index(name, *columns, unique=True, sqlite_where=text(which), postgresql_where=text(which))


def standing(table: Table, generation: int) -> ColumnElement[bool]:
    """Condition on the rows of a table that stand in a generation."""
    born, died = table.c.born, table.c.died
    return and_(born <= generation, or_(died.is_(None), died > generation))


STATE = Table("state", METADATA, _key(), _number("generation"), _text("identity"))
"""One row: the generation that readers see, raised by every change that answers depend on, 0 for an index that is
not filled yet; and a random name of this index, which tells the files that are made from it from those of another
one."""

GENERATION = Table(
    "generation",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("made_utc", DateTime, nullable=False),
    Column("run_id", Integer),
    _number("n_architectures"),
    _number("n_entries"),
)
"""When each generation was made, by which run, and how much stands in it."""

RUN = Table(
    "run",
    METADATA,
    _key(),
    _text("kind"),
    _text("status"),
    Column("started_utc", DateTime, nullable=False),
    Column("heartbeat_utc", DateTime),
    Column("finished_utc", DateTime),
    _number("n_planned"),
    _number("n_done"),
    _number("n_failed"),
    _number("n_new"),
    _number("n_changed"),
    _number("n_unchanged"),
    _number("n_retired"),
    Column("generation", Integer),
    _text("versions"),
    _text("detail"),
)
"""One refresh, import or addition, all times by the database's clock. Status: running, done, partial (some
architectures failed), interrupted, failed, lost (its process ended without a word). `versions` is JSON;
`generation` the one it made, if any."""

LEASE = Table(
    "lease",
    METADATA,
    _text("name", primary_key=True),
    _number("token"),
    Column("run_id", Integer),
    _text("holder"),
    Column("since_utc", DateTime),
    Column("heartbeat_utc", DateTime),
)
"""Who may refresh: one row a kind of work. `token` rises whenever it changes hands, so that a holder who lost it
can tell; `holder` is JSON and empty while nobody holds it."""

LAYER = Table(
    "layer",
    METADATA,
    _key(),
    _text("form"),
    _text("digest"),
    _text("canonical"),
    UniqueConstraint("form", "digest"),
)
"""A distinct layer: `canonical_texts` of it."""

BLOCK = Table(
    "block",
    METADATA,
    _key(),
    _text("form"),
    _text("digest"),
    Column("single", Boolean, nullable=False),
    _bytes("layer_ids"),
    UniqueConstraint("form", "digest"),
)
"""A distinct item of architectures: a block of layers, or one single layer."""

ARCHITECTURE = Table(
    "architecture",
    METADATA,
    _key(),
    _text("catalogue"),
    _text("name", index=True),
    _text("catalogue_version"),
    _number("features"),
    _text("fingerprint", index=True),
    Column("n_params", BigInteger, nullable=False),
    _number("n_dpiat"),
    _number("n_paper"),
    _bytes("dpiat_items"),
    _bytes("paper_items", nullable=True),
    _bytes("facts", nullable=True),
    _bytes("wiring", nullable=True),
    _number("revision"),
    *_since_until(),
    Index("ix_architecture_catalogue_name", "catalogue", "name"),
    _one_at_a_time("uq_architecture_standing", "born IS NOT NULL AND died IS NULL", "catalogue", "name"),
    _one_at_a_time("uq_architecture_prepared", "born IS NULL", "catalogue", "name"),
)
"""A standardized architecture of a catalogue, in one of its revisions, which are counted from 1."""

ENTRY = Table(
    "entry",
    METADATA,
    _key(),
    Column(
        "architecture_id", Integer, ForeignKey("architecture.id", ondelete="CASCADE"), nullable=False, index=True
    ),
    _text("catalogue"),
    _text("name", index=True),
    _text("tag"),
    _text("family"),
    _number("position"),
    Column("license", Text),
    _text("input_size"),
    _number("n_classes"),
    Column("hub_id", Text),
    Column("hub_filename", Text),
    Column("url", Text),
    Column("path", Text),
    Column("task", Text),
    Column("dataset", Text),
    Column("downloads", BigInteger),
    Column("n_bytes", BigInteger),
    Column("revision", Text),
    Column("modified_ns", BigInteger),
    *_since_until(),
    _one_at_a_time("uq_entry_standing", "born IS NOT NULL AND died IS NULL", "name"),
)
"""A pretrained weight set. `revision` is that of its weights: a commit of a hub, or a hash of a file, which was
written at `modified_ns` (of the epoch; of several files it is a number that tells their times apart)."""

COLLECTION = Table(
    "collection",
    METADATA,
    _text("catalogue", primary_key=True),
    _text("name", primary_key=True),
    _text("address"),
    Column("license", Text),
    Column("added_utc", DateTime, nullable=False),
)
"""What a user wants to be listed at every refresh: a folder, or a query of a hub. Names of its entries begin with
its own."""

BASIS = Table(
    "basis",
    METADATA,
    _key(),
    _text("measure"),
    _number("features"),
    _text("landmarks"),
    _bytes("projection"),
    Column("recall", Float),
    *_since_until(),
)
"""What the embedding is made of: landmark layers (JSON), the projection (float32, row by row), and the recall of
shortlists that was found with it."""

EMBEDDING = Table(
    "embedding",
    METADATA,
    Column("basis_id", Integer, ForeignKey("basis.id", ondelete="CASCADE"), primary_key=True),
    Column(
        "architecture_id", Integer, ForeignKey("architecture.id", ondelete="CASCADE"), primary_key=True, index=True
    ),
    _bytes("vector"),
)
"""Source-side vector of an architecture, float32, made with a basis."""

METRIC = Table(
    "metric",
    METADATA,
    _text("dataset", primary_key=True),
    _text("name", primary_key=True),
    Column("top1", Float, nullable=False),
    Column("top5", Float),
    Column("image_size", Integer),
)
"""Published result of a weight set on a data set, in percent; by name, so that it outlives refreshes."""

FAILURE = Table(
    "failure",
    METADATA,
    _key(),
    _text("catalogue"),
    _text("name"),
    _text("catalogue_version"),
    _text("error"),
    _number("n_tries"),
    Column("last_utc", DateTime),
    UniqueConstraint("catalogue", "name"),
)
"""A network of a catalogue that could not be standardized, why, and how often it was tried."""

ALIAS = Table(
    "alias",
    METADATA,
    _text("catalogue", primary_key=True),
    _text("name", primary_key=True),
    _text("target"),
    _number("generation"),
)
"""A name that a catalogue gave up for another one, and the generation since which it is known."""

WATCH = Table(
    "watch",
    METADATA,
    _text("name", primary_key=True),
    _text("architectures"),
    _number("features"),
    Column("n_params", BigInteger, nullable=False),
    _text("filters"),
    _text("best"),
    Column("similarity", Float, nullable=False),
    _number("generation"),
    Column("added_utc", DateTime, nullable=False),
)
"""A target that somebody waits for a better source of: its forms and filters (JSON), the best source so far, its
similarity, and the generation that was looked at last."""
