"""Tables of the index. Only the Alembic migrations create them; this is how the code reads them.

Layers and blocks are stored once, however many architectures share them. Lists of ids are packed as
little-endian int32, so that a query loads them without a Python object per item.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

__all__ = [
    "ARCHITECTURE",
    "BASIS",
    "BLOCK",
    "EMBEDDING",
    "ENTRY",
    "FAILURE",
    "LAYER",
    "METADATA",
    "METRIC",
    "RUN",
    "STATE",
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


def _text(name: str, *, index: bool = False, unique: bool = False, primary_key: bool = False) -> Column[str]:
    return Column(name, Text, nullable=False, index=index or None, unique=unique or None, primary_key=primary_key)


def _number(name: str) -> Column[int]:
    return Column(name, Integer, nullable=False)


def _bytes(name: str, *, nullable: bool = False) -> Column[bytes]:
    return Column(name, LargeBinary, nullable=nullable)


STATE = Table(
    "state", METADATA, _key(), _number("generation"), _text("vectors_sha256"), _number("vectors_generation")
)
"""One row: the generation of the content, raised by every change that recommendations depend on; generation and
digest (a sha256, of a large file over samples) of the vector file."""

RUN = Table(
    "run",
    METADATA,
    _key(),
    _text("kind"),
    _text("status"),
    Column("started_utc", DateTime, nullable=False),
    Column("finished_utc", DateTime),
    _number("n_planned"),
    _number("n_done"),
    _number("n_failed"),
    _text("detail"),
)
"""One refresh, import or addition."""

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
    _number("n_params"),
    _number("n_dpiat"),
    _number("n_paper"),
    _bytes("dpiat_items"),
    _bytes("paper_items", nullable=True),
    _bytes("facts", nullable=True),
    _bytes("wiring", nullable=True),
    UniqueConstraint("catalogue", "name"),
)
"""A standardized architecture of a catalogue."""

ENTRY = Table(
    "entry",
    METADATA,
    _key(),
    Column(
        "architecture_id", Integer, ForeignKey("architecture.id", ondelete="CASCADE"), nullable=False, index=True
    ),
    _text("catalogue"),
    _text("name", unique=True),
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
)
"""A pretrained weight set."""

EMBEDDING = Table(
    "embedding",
    METADATA,
    Column("architecture_id", Integer, ForeignKey("architecture.id", ondelete="CASCADE"), primary_key=True),
    _bytes("vector"),
)
"""Source-side vector of an architecture, float32."""

BASIS = Table(
    "basis",
    METADATA,
    _text("measure", primary_key=True),
    _number("features"),
    _text("landmarks"),
    _bytes("projection"),
    Column("recall", Float),
)
"""What the embedding is made of: landmark layers (JSON), the projection (float32, row by row), and the recall of
shortlists that was found with it."""

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
    UniqueConstraint("catalogue", "name"),
)
"""A network of a catalogue that could not be standardized, and why."""
