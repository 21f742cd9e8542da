"""Alembic environment: runs on the connection that zoo_index/database/migrate.py opened."""

from alembic import context

from zoo_index.database.schema import METADATA

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=METADATA,
    render_as_batch=True,
    transactional_ddl=False,  # the caller's BEGIN IMMEDIATE spans all revisions
    version_table="zoo_alembic_version",
)
context.run_migrations()
