"""Tables of the index. Only the Alembic migrations create them; this is how the code reads them.

Layers and blocks are stored once, however many architectures share them. Lists of ids are packed as
little-endian int32, so that a query loads them without a Python object per item.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, LargeBinary, MetaData, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

__all__ = [
    "ArchitectureRow",
    "Base",
    "BasisRow",
    "BlockRow",
    "EmbeddingRow",
    "EntryRow",
    "FailureRow",
    "LayerRow",
    "RunRow",
    "StateRow",
]

_NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Root of the tables."""

    metadata = MetaData(naming_convention=_NAMING)


class StateRow(Base):
    """One row: the generation of the content, raised by every change that recommendations depend on."""

    __tablename__ = "state"
    id: Mapped[int] = mapped_column(primary_key=True)
    generation: Mapped[int]
    vectors_sha256: Mapped[str] = mapped_column(Text)
    vectors_generation: Mapped[int]


class RunRow(Base):
    """One refresh, import or addition."""

    __tablename__ = "run"
    id: Mapped[int] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    started_utc: Mapped[datetime]
    finished_utc: Mapped[datetime | None]
    n_planned: Mapped[int]
    n_done: Mapped[int]
    n_failed: Mapped[int]
    detail: Mapped[str] = mapped_column(Text)


class LayerRow(Base):
    """A distinct layer: `Layer.canonical` as JSON."""

    __tablename__ = "layer"
    __table_args__ = (UniqueConstraint("form", "digest"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    form: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(Text)
    canonical: Mapped[str] = mapped_column(Text)


class BlockRow(Base):
    """A distinct item of architectures: a block of layers, or one single layer."""

    __tablename__ = "block"
    __table_args__ = (UniqueConstraint("form", "digest"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    form: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(Text)
    single: Mapped[bool]
    layer_ids: Mapped[bytes] = mapped_column(LargeBinary)


class ArchitectureRow(Base):
    """A standardized architecture of a catalogue."""

    __tablename__ = "architecture"
    __table_args__ = (UniqueConstraint("catalogue", "name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    catalogue: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    catalogue_version: Mapped[str] = mapped_column(Text)
    features: Mapped[int]
    fingerprint: Mapped[str] = mapped_column(Text, index=True)
    n_params: Mapped[int]
    n_dpiat: Mapped[int]
    n_paper: Mapped[int]
    dpiat_items: Mapped[bytes] = mapped_column(LargeBinary)
    paper_items: Mapped[bytes | None] = mapped_column(LargeBinary)


class EntryRow(Base):
    """A pretrained weight set."""

    __tablename__ = "entry"
    id: Mapped[int] = mapped_column(primary_key=True)
    architecture_id: Mapped[int] = mapped_column(ForeignKey("architecture.id", ondelete="CASCADE"), index=True)
    catalogue: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text, unique=True)
    tag: Mapped[str] = mapped_column(Text)
    family: Mapped[str] = mapped_column(Text)
    position: Mapped[int]
    license: Mapped[str | None] = mapped_column(Text)
    input_size: Mapped[str] = mapped_column(Text)
    n_classes: Mapped[int]
    hub_id: Mapped[str | None] = mapped_column(Text)
    hub_filename: Mapped[str | None] = mapped_column(Text)
    url: Mapped[str | None] = mapped_column(Text)
    path: Mapped[str | None] = mapped_column(Text)


class EmbeddingRow(Base):
    """Source-side vector of an architecture, float32."""

    __tablename__ = "embedding"
    architecture_id: Mapped[int] = mapped_column(
        ForeignKey("architecture.id", ondelete="CASCADE"), primary_key=True
    )
    vector: Mapped[bytes] = mapped_column(LargeBinary)


class BasisRow(Base):
    """What the embedding is made of: the landmarks (int32 ids) and pinv(W) (float32, row by row)."""

    __tablename__ = "basis"
    measure: Mapped[str] = mapped_column(Text, primary_key=True)
    features: Mapped[int]
    landmark_ids: Mapped[bytes] = mapped_column(LargeBinary)
    projection: Mapped[bytes] = mapped_column(LargeBinary)


class FailureRow(Base):
    """A network of a catalogue that could not be standardized, and why."""

    __tablename__ = "failure"
    __table_args__ = (UniqueConstraint("catalogue", "name"),)
    id: Mapped[int] = mapped_column(primary_key=True)
    catalogue: Mapped[str] = mapped_column(Text)
    name: Mapped[str] = mapped_column(Text)
    catalogue_version: Mapped[str] = mapped_column(Text)
    error: Mapped[str] = mapped_column(Text)
