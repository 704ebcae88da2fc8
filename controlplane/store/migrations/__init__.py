"""Alembic's migrations, applied by :mod:`controlplane.store.migrate`. One that was released is never edited."""
