"""Brings a database to this version's tables when the control plane starts.

Alembic is imported only when there is something to do: it costs half a second and 12 MB.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from controlplane.domain.errors import StoreError
from controlplane.store.database import Database

HEAD = "0001"
"""The newest migration; `tests/unit/store` holds it equal to what the folder says."""
FOLDER = Path(__file__).parent / "migrations"


async def migrate(database: Database) -> None:
    """Apply what is missing, all of it or none.

    Raises:
        StoreError: a newer Penstock wrote the database, or it is damaged.
    """
    async with database.read() as connection:
        current = await connection.run_sync(_revision)
    if current == HEAD:
        return
    async with database.write() as connection:
        await connection.run_sync(_upgrade)


def _revision(connection: Connection) -> str | None:
    try:
        if not inspect(connection).has_table("alembic_version"):
            return None
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except SQLAlchemyError as error:
        if "not a database" in str(error):
            raise StoreError(
                f"{connection.engine.url.database} is not a database.",
                hint="Move the file away, or restore it from a backup.",
            ) from error
        raise


def _upgrade(connection: Connection) -> None:
    from alembic import command  # noqa: PLC0415  # see the module's docstring
    from alembic.config import Config  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    current = _revision(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise StoreError(
            f"The database was written by a newer Penstock (its revision is {current}, this one knows up to {HEAD}).",
            hint="Start that version, or one newer than it.",
        )
    command.upgrade(config, "head")
