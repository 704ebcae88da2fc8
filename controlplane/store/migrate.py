"""Brings a database to this version's tables when the control plane starts.

Alembic is imported only when there is something to do: it costs half a second and 12 MB.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, text

from controlplane.domain.errors import StoreError
from controlplane.store.database import Database

HEAD = "0002"
"""The newest migration; `tests/unit/store` holds it equal to what the folder says."""
FOLDER = Path(__file__).parent / "migrations"


async def migrate(database: Database) -> None:
    """Apply what is missing, all of it or none.

    Raises:
        StoreError: a newer Penstock wrote the database, or it is damaged.
    """
    if await _revision(database) != HEAD:
        await database.migrate(_upgrade)


async def _revision(database: Database) -> str | None:
    async with database.read() as executor:
        present = await executor.execute(text("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'"))
        if present.scalar() is None:
            return None
        return str((await executor.execute(text("SELECT version_num FROM alembic_version"))).scalar())


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415  # see the module's docstring
    from alembic.config import Config  # noqa: PLC0415
    from alembic.runtime.migration import MigrationContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise StoreError(
            f"The database was written by a newer Penstock (its revision is {current}, this one knows up to {HEAD}).",
            hint="Start that version, or one newer than it.",
        )
    command.upgrade(config, "head")
