"""What the layers of an architecture do besides their shapes.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.add_column("architecture", sa.Column("facts", sa.LargeBinary(), nullable=True))
