"""What SQLite is asked to be, and what a user reads when it cannot."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from pathlib import Path

import pytest
from sqlalchemy import text

from controlplane.domain.changes import Change, ChangeKind
from controlplane.domain.errors import ResourceExhaustedError, StoreError
from controlplane.domain.specs import EndpointSpec
from controlplane.store.database import Database
from controlplane.store.migrate import migrate
from tests.support.platform import CALLER, Platform


@pytest.fixture
async def database(tmp_path: Path):
    opened = Database(f"sqlite:///{tmp_path}/test.db", lock_seconds=0.1)
    async with opened.write() as executor:
        await executor.execute(text("CREATE TABLE t (n INTEGER)"))
    yield opened
    await opened.close()


async def count(database: Database) -> int:
    async with database.read() as executor:
        return int((await executor.execute(text("SELECT count(*) FROM t"))).scalar_one())


def modes_in(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("pragma", "value"), [("journal_mode", "wal"), ("foreign_keys", 1), ("synchronous", 2), ("busy_timeout", 50)]
)
async def test_every_connection_is_set_up(database: Database, pragma: str, value: object) -> None:
    async with database.read() as one, database.read() as other:
        for executor in (one, other):
            assert (await executor.execute(text(f"PRAGMA {pragma}"))).scalar_one() == value


async def test_its_files_are_for_their_owner_alone(database: Database, tmp_path: Path) -> None:
    assert await count(database) == 0
    assert modes_in(tmp_path) == {"test.db": 0o600, "test.db-wal": 0o600, "test.db-shm": 0o600}


async def test_what_raises_leaves_nothing(database: Database) -> None:
    told: list[str] = []
    with pytest.raises(RuntimeError):  # noqa: PT012
        async with database.write(lambda: told.append("committed")) as executor:
            await executor.execute(text("INSERT INTO t VALUES (1)"))
            raise RuntimeError
    assert (await count(database), told) == (0, [])


async def test_what_a_read_writes_is_rolled_back(database: Database) -> None:
    async with database.read() as executor:
        await executor.execute(text("INSERT INTO t VALUES (1)"))
    assert await count(database) == 0


async def test_readers_see_one_state_while_a_writer_commits(database: Database) -> None:
    async with database.read() as reader:
        assert (await reader.execute(text("SELECT count(*) FROM t"))).scalar_one() == 0
        async with database.write() as writer:
            await writer.execute(text("INSERT INTO t VALUES (1)"))
        assert (await reader.execute(text("SELECT count(*) FROM t"))).scalar_one() == 0
    assert await count(database) == 1


async def test_writers_take_turns(database: Database) -> None:
    async def write(number: int) -> None:
        async with database.write() as executor:
            before = (await executor.execute(text("SELECT count(*) FROM t"))).scalar_one()
            await asyncio.sleep(0)
            await executor.execute(text("INSERT INTO t VALUES (:n)"), {"n": before})

    await asyncio.gather(*(write(number) for number in range(20)))
    async with database.read() as executor:
        assert list((await executor.execute(text("SELECT n FROM t ORDER BY n"))).scalars()) == list(range(20))


async def test_a_commit_is_told_also_when_the_caller_is_cancelled(database: Database) -> None:
    told: list[str] = []
    written = asyncio.Event()

    async def write() -> None:
        async with database.write(lambda: told.append("committed")) as executor:
            await executor.execute(text("INSERT INTO t VALUES (1)"))
            written.set()

    task = asyncio.create_task(write())
    await written.wait()
    await asyncio.sleep(0)  # into the commit
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await count(database), told) == (1, ["committed"])


async def test_a_lock_of_another_process_is_waited_for_then_named(database: Database, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "test.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match=r"test\.db is locked by another process"):
        async with database.write():
            pass
    waiting = asyncio.create_task(_insert(database))
    await asyncio.sleep(0)
    other.execute("COMMIT")
    await waiting
    other.close()
    assert await count(database) == 1


async def _insert(database: Database) -> None:
    async with database.write() as executor:
        await executor.execute(text("INSERT INTO t VALUES (1)"))


async def test_a_full_disk_is_one_sentence_and_changes_nothing(database: Database) -> None:
    async with database.write() as executor:
        pages = (await executor.execute(text("PRAGMA page_count"))).scalar_one()
        await executor.execute(text(f"PRAGMA max_page_count = {pages + 2}"))
    with pytest.raises(ResourceExhaustedError, match="full; nothing was changed"):  # noqa: PT012
        async with database.write() as executor:
            for _ in range(100):
                await executor.execute(text("INSERT INTO t VALUES (zeroblob(4000))"))
    assert await count(database) == 0


async def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "test.db").write_bytes(b"hello" * 1000)
    database = Database(f"sqlite:///{tmp_path}/test.db")
    with pytest.raises(StoreError, match=r"test\.db is damaged"):
        await migrate(database)
    await database.close()


async def test_a_damaged_database_is_named(platform: Platform, tmp_path: Path) -> None:
    for number in range(50):
        await platform.endpoints.create(f"end{number}", EndpointSpec(description="x" * 500), CALLER)
    await platform.store.close()
    file = tmp_path / "penstock.db"
    content = bytearray(file.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    file.write_bytes(content)
    with pytest.raises(StoreError, match="is damaged"):
        await platform.desired.endpoints()


async def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/missing/test.db")
    with pytest.raises(StoreError, match="cannot be opened"):
        await migrate(database)
    await database.close()


def test_another_kind_of_database_is_refused() -> None:
    with pytest.raises(StoreError, match="not one of SQLite's"):
        Database("postgresql://user:secret@host/db")


async def test_changes_are_told_after_the_commit_alone(platform: Platform) -> None:
    change = Change(ChangeKind.SPEC, "house")
    with pytest.raises(RuntimeError):  # noqa: PT012
        async with platform.store.write() as transaction:
            transaction.tell(change)
            raise RuntimeError
    assert platform.told == []
    async with platform.store.write() as transaction:
        transaction.tell(change)
        assert platform.told == []
    assert platform.told == [change]
