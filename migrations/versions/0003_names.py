"""An index of names, so that one architecture of a million is found at once.

Revision ID: 0003
Revises: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_index("ix_architecture_name", "architecture", ["name"])
