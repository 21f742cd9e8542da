"""Tables of the index.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def _text(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=nullable)


def _int(name: str) -> sa.Column:
    return sa.Column(name, sa.Integer(), nullable=False)


def _blob(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.LargeBinary(), nullable=nullable)


def upgrade() -> None:
    op.create_table(
        "state",
        _int("id"),
        _int("generation"),
        _text("vectors_sha256"),
        _int("vectors_generation"),
        sa.PrimaryKeyConstraint("id", name="pk_state"),
    )
    op.create_table(
        "run",
        _int("id"),
        _text("kind"),
        _text("status"),
        sa.Column("started_utc", sa.DateTime(), nullable=False),
        sa.Column("finished_utc", sa.DateTime(), nullable=True),
        _int("n_planned"),
        _int("n_done"),
        _int("n_failed"),
        _text("detail"),
        sa.PrimaryKeyConstraint("id", name="pk_run"),
    )
    op.create_table(
        "layer",
        _int("id"),
        _text("form"),
        _text("digest"),
        _text("canonical"),
        sa.PrimaryKeyConstraint("id", name="pk_layer"),
        sa.UniqueConstraint("form", "digest", name="uq_layer_form_digest"),
    )
    op.create_table(
        "block",
        _int("id"),
        _text("form"),
        _text("digest"),
        sa.Column("single", sa.Boolean(), nullable=False),
        _blob("layer_ids"),
        sa.PrimaryKeyConstraint("id", name="pk_block"),
        sa.UniqueConstraint("form", "digest", name="uq_block_form_digest"),
    )
    op.create_table(
        "architecture",
        _int("id"),
        _text("catalogue"),
        _text("name"),
        _text("catalogue_version"),
        _int("features"),
        _text("fingerprint"),
        _int("n_params"),
        _int("n_dpiat"),
        _int("n_paper"),
        _blob("dpiat_items"),
        _blob("paper_items", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_architecture"),
        sa.UniqueConstraint("catalogue", "name", name="uq_architecture_catalogue_name"),
    )
    op.create_index("ix_architecture_fingerprint", "architecture", ["fingerprint"])
    op.create_table(
        "entry",
        _int("id"),
        _int("architecture_id"),
        _text("catalogue"),
        _text("name"),
        _text("tag"),
        _text("family"),
        _int("position"),
        _text("license", nullable=True),
        _text("input_size"),
        _int("n_classes"),
        _text("hub_id", nullable=True),
        _text("hub_filename", nullable=True),
        _text("url", nullable=True),
        _text("path", nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_entry"),
        sa.UniqueConstraint("name", name="uq_entry_name"),
        sa.ForeignKeyConstraint(
            ["architecture_id"],
            ["architecture.id"],
            name="fk_entry_architecture_id_architecture",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_entry_architecture_id", "entry", ["architecture_id"])
    op.create_table(
        "embedding",
        _int("architecture_id"),
        _blob("vector"),
        sa.PrimaryKeyConstraint("architecture_id", name="pk_embedding"),
        sa.ForeignKeyConstraint(
            ["architecture_id"],
            ["architecture.id"],
            name="fk_embedding_architecture_id_architecture",
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "basis",
        _text("measure"),
        _int("features"),
        _blob("landmark_ids"),
        _blob("projection"),
        sa.PrimaryKeyConstraint("measure", name="pk_basis"),
    )
    op.create_table(
        "failure",
        _int("id"),
        _text("catalogue"),
        _text("name"),
        _text("catalogue_version"),
        _text("error"),
        sa.PrimaryKeyConstraint("id", name="pk_failure"),
        sa.UniqueConstraint("catalogue", "name", name="uq_failure_catalogue_name"),
    )
    op.execute("INSERT INTO state (id, generation, vectors_sha256, vectors_generation) VALUES (1, 0, '', -1)")
