"""Migrations make exactly the tables the code knows, and never touch what a newer version wrote."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from controlplane.domain.errors import StoreError
from controlplane.store import migrate as module
from controlplane.store.database import Database
from controlplane.store.migrate import FOLDER, HEAD, migrate
from controlplane.store.tables import metadata


async def migrated(file: Path) -> None:
    database = Database(f"sqlite:///{file}")
    await migrate(database)
    await database.close()


async def test_the_tables_are_those_of_the_code(tmp_path: Path) -> None:
    await migrated(tmp_path / "test.db")
    engine = create_engine(f"sqlite:///{tmp_path}/test.db")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def schema(file: Path) -> dict[str, str]:
    connection = sqlite3.connect(file)
    rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' AND sql IS NOT NULL")
    found = {name: "".join(sql.replace('"', "").split()) for name, sql in rows if name != "alembic_version"}
    connection.close()
    return found


def clauses(sql: str) -> list[str]:
    """In any order: Alembic writes constraints in another one."""
    head, _, body = sql.partition("(")
    return [head, *sorted(body.removesuffix(")").split(","))]


async def test_what_alembic_does_not_compare_is_the_same_too(tmp_path: Path) -> None:
    """AUTOINCREMENT and ON DELETE, say."""
    await migrated(tmp_path / "migrated.db")
    engine = create_engine(f"sqlite:///{tmp_path}/made.db")
    metadata.create_all(engine)
    engine.dispose()
    made, by_migration = schema(tmp_path / "made.db"), schema(tmp_path / "migrated.db")
    assert made.keys() == by_migration.keys()
    for name, sql in made.items():
        assert clauses(sql) == clauses(by_migration[name]), name


def test_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(FOLDER))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


async def test_a_second_start_does_not_load_alembic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await migrated(tmp_path / "test.db")
    monkeypatch.delattr(module, "_upgrade")
    await migrated(tmp_path / "test.db")


async def test_what_a_newer_version_wrote_is_left_alone(tmp_path: Path) -> None:
    await migrated(tmp_path / "test.db")
    connection = sqlite3.connect(tmp_path / "test.db")
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    before = (tmp_path / "test.db").read_bytes()
    database = Database(f"sqlite:///{tmp_path}/test.db")
    with pytest.raises(StoreError, match="newer Penstock"):
        await migrate(database)
    await database.close()
    assert (tmp_path / "test.db").read_bytes() == before


async def test_a_migration_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade = module._upgrade

    def fail(connection) -> None:
        upgrade(connection)
        raise RuntimeError("the power went")

    monkeypatch.setattr(module, "_upgrade", fail)
    database = Database(f"sqlite:///{tmp_path}/test.db")
    with pytest.raises(RuntimeError):
        await migrate(database)
    await database.close()
    assert schema(tmp_path / "test.db") == {}
    monkeypatch.undo()
    await migrated(tmp_path / "test.db")
    assert "endpoints" in schema(tmp_path / "test.db")
