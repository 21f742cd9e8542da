"""An embedding of layer profiles in place of one of similarities to landmark architectures.

The old vectors and what they were made of go; the next refresh computes the new ones.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.drop_table("basis")
    op.create_table(
        "basis",
        sa.Column("measure", sa.Text(), nullable=False),
        sa.Column("features", sa.Integer(), nullable=False),
        sa.Column("landmarks", sa.Text(), nullable=False),
        sa.Column("projection", sa.LargeBinary(), nullable=False),
        sa.Column("recall", sa.Float(), nullable=True),
        sa.PrimaryKeyConstraint("measure", name="pk_basis"),
    )
    op.execute("DELETE FROM embedding")
    op.execute("UPDATE state SET generation = generation + 1")
