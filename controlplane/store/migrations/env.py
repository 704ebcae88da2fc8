"""How Alembic runs a migration here: within the transaction that :mod:`controlplane.store.migrate` has open."""

from __future__ import annotations

from alembic import context

from controlplane.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by making it anew
)
with context.begin_transaction():
    context.run_migrations()
