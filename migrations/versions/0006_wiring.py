"""What is around the layers of an architecture: branches, gates, what reads them alone.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.add_column("architecture", sa.Column("wiring", sa.LargeBinary(), nullable=True))
