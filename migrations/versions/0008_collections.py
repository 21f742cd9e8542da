"""Folders and hubs: what a weight set is for, its size and version, and what is listed again every night.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    with op.batch_alter_table("entry") as table:
        table.add_column(sa.Column("task", sa.Text(), nullable=True))
        table.add_column(sa.Column("dataset", sa.Text(), nullable=True))
        table.add_column(sa.Column("downloads", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("n_bytes", sa.BigInteger(), nullable=True))
        table.add_column(sa.Column("revision", sa.Text(), nullable=True))
        table.add_column(sa.Column("modified_ns", sa.BigInteger(), nullable=True))
    op.create_table(
        "collection",
        sa.Column("catalogue", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("license", sa.Text(), nullable=True),
        sa.Column("added_utc", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("catalogue", "name", name="pk_collection"),
    )
