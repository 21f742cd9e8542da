"""Generations: rows say from when to when they stand, so that readers see a refresh as a whole or not at all.

With them come leases, aliases, watched targets, and runs that say what they changed.

Revision ID: 0007
Revises: 0006
"""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

_STANDING = sa.text("born IS NOT NULL AND died IS NULL")
_PREPARED = sa.text("born IS NULL")


def _text(name: str) -> sa.Column:
    return sa.Column(name, sa.Text(), nullable=False)


def _count(name: str, default: str | None = "0") -> sa.Column:
    return sa.Column(name, sa.Integer(), nullable=False, server_default=default)


def _since_until() -> list[sa.Column]:
    return [sa.Column("born", sa.Integer(), nullable=True), sa.Column("died", sa.Integer(), nullable=True)]


def _unique_among(name: str, table: str, columns: list[str], which: sa.TextClause) -> None:
    op.create_index(name, table, columns, unique=True, sqlite_where=which, postgresql_where=which)


def upgrade() -> None:
    _state_and_generations()
    _architectures_and_entries()
    _basis_and_embedding()
    _runs_and_failures()
    _new_tables()


def _state_and_generations() -> None:
    with op.batch_alter_table("state") as table:
        table.add_column(sa.Column("identity", sa.Text(), nullable=False, server_default=""))
        table.drop_column("vectors_sha256")
        table.drop_column("vectors_generation")
    op.get_bind().execute(sa.text("UPDATE state SET identity = :name"), {"name": secrets.token_hex(16)})
    op.execute("UPDATE state SET generation = 0 WHERE NOT EXISTS (SELECT 1 FROM architecture)")
    op.execute("UPDATE state SET generation = 1 WHERE generation < 1 AND EXISTS (SELECT 1 FROM architecture)")
    op.create_table(
        "generation",
        sa.Column("number", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("made_utc", sa.DateTime(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=True),
        _count("n_architectures", None),
        _count("n_entries", None),
        sa.PrimaryKeyConstraint("number", name="pk_generation"),
    )
    op.execute(
        "INSERT INTO generation (number, made_utc, n_architectures, n_entries)"
        " SELECT generation, CURRENT_TIMESTAMP, (SELECT count(*) FROM architecture), (SELECT count(*) FROM entry)"
        " FROM state WHERE generation > 0"
    )


def _architectures_and_entries() -> None:
    with op.batch_alter_table("architecture") as table:
        table.add_column(_count("revision", "1"))
        table.alter_column("n_params", existing_type=sa.Integer(), existing_nullable=False, type_=sa.BigInteger())
        for column in _since_until():
            table.add_column(column)
        table.drop_constraint("uq_architecture_catalogue_name", type_="unique")
    with op.batch_alter_table("entry") as table:
        for column in _since_until():
            table.add_column(column)
        table.drop_constraint("uq_entry_name", type_="unique")
    for name in ("architecture", "entry"):
        op.execute(f"UPDATE {name} SET born = (SELECT generation FROM state)")
    op.create_index("ix_architecture_catalogue_name", "architecture", ["catalogue", "name"])
    op.create_index("ix_entry_name", "entry", ["name"])
    _unique_among("uq_architecture_standing", "architecture", ["catalogue", "name"], _STANDING)
    _unique_among("uq_architecture_prepared", "architecture", ["catalogue", "name"], _PREPARED)
    _unique_among("uq_entry_standing", "entry", ["name"], _STANDING)


def _basis_and_embedding() -> None:
    op.execute("CREATE TABLE kept_basis AS SELECT * FROM basis")
    op.execute("CREATE TABLE kept_embedding AS SELECT * FROM embedding")
    op.drop_table("embedding")
    op.drop_table("basis")
    op.create_table(
        "basis",
        sa.Column("id", sa.Integer(), nullable=False),
        _text("measure"),
        _count("features", None),
        _text("landmarks"),
        sa.Column("projection", sa.LargeBinary(), nullable=False),
        sa.Column("recall", sa.Float(), nullable=True),
        *_since_until(),
        sa.PrimaryKeyConstraint("id", name="pk_basis"),
    )
    op.create_table(
        "embedding",
        sa.Column("basis_id", sa.Integer(), nullable=False),
        sa.Column("architecture_id", sa.Integer(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("basis_id", "architecture_id", name="pk_embedding"),
        sa.ForeignKeyConstraint(["basis_id"], ["basis.id"], name="fk_embedding_basis_id_basis", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["architecture_id"],
            ["architecture.id"],
            name="fk_embedding_architecture_id_architecture",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_embedding_architecture_id", "embedding", ["architecture_id"])
    op.execute(
        "INSERT INTO basis (measure, features, landmarks, projection, recall, born)"
        " SELECT measure, features, landmarks, projection, recall, (SELECT generation FROM state) FROM kept_basis"
    )
    op.execute(
        "INSERT INTO embedding (basis_id, architecture_id, vector)"
        " SELECT (SELECT min(id) FROM basis), architecture_id, vector FROM kept_embedding"
        " WHERE EXISTS (SELECT 1 FROM basis)"
    )
    op.drop_table("kept_embedding")
    op.drop_table("kept_basis")


def _runs_and_failures() -> None:
    with op.batch_alter_table("run") as table:
        table.add_column(sa.Column("heartbeat_utc", sa.DateTime(), nullable=True))
        for name in ("n_new", "n_changed", "n_unchanged", "n_retired"):
            table.add_column(_count(name))
        table.add_column(sa.Column("generation", sa.Integer(), nullable=True))
        table.add_column(sa.Column("versions", sa.Text(), nullable=False, server_default="{}"))
    op.execute("UPDATE run SET status = 'lost' WHERE status = 'running'")
    with op.batch_alter_table("failure") as table:
        table.add_column(_count("n_tries", "1"))
        table.add_column(sa.Column("last_utc", sa.DateTime(), nullable=True))


def _new_tables() -> None:
    op.create_table(
        "lease",
        _text("name"),
        _count("token", None),
        sa.Column("run_id", sa.Integer(), nullable=True),
        _text("holder"),
        sa.Column("since_utc", sa.DateTime(), nullable=True),
        sa.Column("heartbeat_utc", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("name", name="pk_lease"),
    )
    op.execute("INSERT INTO lease (name, token, holder) VALUES ('refresh', 0, '')")
    op.create_table(
        "alias",
        _text("catalogue"),
        _text("name"),
        _text("target"),
        _count("generation", None),
        sa.PrimaryKeyConstraint("catalogue", "name", name="pk_alias"),
    )
    op.create_table(
        "watch",
        _text("name"),
        _text("architectures"),
        _count("features", None),
        sa.Column("n_params", sa.BigInteger(), nullable=False),
        _text("filters"),
        _text("best"),
        sa.Column("similarity", sa.Float(), nullable=False),
        _count("generation", None),
        sa.Column("added_utc", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_watch"),
    )
