"""What Alembic runs: the revisions, on the connection and in the transaction that `migrate.run` holds."""

from __future__ import annotations

from alembic import context

from brickyard.db import migrate, schema

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.metadata,
    render_as_batch=True,
    **migrate.OPTIONS,
    transactional_ddl=False,  # the transaction is ours, and committed by whoever holds it
)
context.run_migrations()
