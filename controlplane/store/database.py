"""The connection to the database, and what makes SQLite behave as a server's store must.

- WAL, so that readers never wait for the writer; foreign keys on.
- Writers take the write lock at BEGIN (``BEGIN IMMEDIATE``) and queue on an :class:`asyncio.Lock` in this process:
  SQLite's own waiting polls with sleeps of up to 100 ms, and upgrading a read lock can fail at once.
- ``synchronous=FULL``: what was accepted survives a power cut. docs/decisions/store-durability.md has the cost.
- SQLAlchemy's errors about disks, locks and damage become one clear sentence each.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from sqlalchemy import event
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from controlplane.domain.errors import PenstockError, ResourceExhaustedError, StoreError

T = TypeVar("T")
_WRITES = "penstock_writes"
_BUSY_MILLISECONDS = 5000
_READERS = 4
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    f"busy_timeout={_BUSY_MILLISECONDS}",
    "temp_store=MEMORY",
    "cache_size=-4000",  # KiB a connection
    "journal_size_limit=16777216",  # bytes the WAL is cut back to after a checkpoint
)


class Database:
    """Short transactions against one database. Construct it inside the event loop that will use it."""

    def __init__(self, url: str) -> None:
        self._url = make_url(url)
        self.sqlite = self._url.get_backend_name() == "sqlite"
        self._writer = asyncio.Lock()
        self._engine = _sqlite_engine(url) if self.sqlite else create_async_engine(url, pool_pre_ping=True)

    @property
    def engine(self) -> AsyncEngine:
        """For migrations and tests."""
        return self._engine

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A consistent view; what is written in it is rolled back."""
        with self.clear_errors():
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def write(self, committed: Callable[[], None] = lambda: None) -> AsyncIterator[AsyncConnection]:
        """One transaction, committed when the block ends well, rolled back when it raises.

        ``committed`` is called once it is committed, also when the caller is cancelled during the commit: nothing
        that was stored goes untold.
        """
        with self.clear_errors():
            async with self._writer, self._engine.connect() as connection:
                writing = await connection.execution_options(**{_WRITES: True})
                yield writing
                await _through(_commit(writing, committed))

    async def close(self) -> None:
        """Close every connection; SQLite folds its WAL back into the database file."""
        await self._engine.dispose()

    @contextmanager
    def clear_errors(self) -> Iterator[None]:
        """Turn the driver's errors into :class:`PenstockError` with a sentence a user can act on."""
        try:
            yield
        except SQLAlchemyError as error:
            clear = _clear(error, self._url.database or str(self._url.host))
            if clear is None:
                raise
            raise clear from error


def _sqlite_engine(url: str) -> AsyncEngine:
    engine = create_async_engine(url, pool_size=_READERS + 1, max_overflow=0)
    event.listen(engine.sync_engine, "connect", _configure)
    event.listen(engine.sync_engine, "begin", _begin)
    return engine


def _configure(dbapi_connection: Any, _record: object) -> None:
    dbapi_connection.isolation_level = None  # the driver begins nothing by itself; _begin does
    cursor = dbapi_connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(_WRITES) else "BEGIN")


async def _commit(connection: AsyncConnection, committed: Callable[[], None]) -> None:
    await connection.commit()
    committed()


async def _through(step: Awaitable[T]) -> T:
    """Wait for ``step`` to its end, also when the caller is cancelled meanwhile."""
    task = asyncio.ensure_future(step)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


_DAMAGE = ("malformed", "not a database", "disk i/o error")
_SENTENCES: dict[str, tuple[type[PenstockError], str, str]] = {
    "database or disk is full": (
        ResourceExhaustedError,
        "The disk that holds the database {database} is full; nothing was changed.",
        "Free some space and repeat the call.",
    ),
    "database is locked": (
        StoreError,
        f"The database {{database}} has been locked by another process for {_BUSY_MILLISECONDS // 1000} seconds.",
        "Find the process that has the file open (lsof) and repeat the call.",
    ),
    "readonly database": (
        StoreError,
        "The database {database} cannot be written: the file or its folder is read only.",
        "Give the user that runs Penstock the right to write there.",
    ),
    "unable to open database file": (
        StoreError,
        "The database {database} cannot be opened: its folder is missing or not accessible.",
        "Create the folder, or point PENSTOCK_HOME elsewhere.",
    ),
}


def _clear(error: SQLAlchemyError, database: str) -> PenstockError | None:
    if not isinstance(error, DBAPIError):
        return None
    said = str(error.orig)
    for part, (kind, sentence, hint) in _SENTENCES.items():
        if part in said:
            return kind(sentence.format(database=database), hint=hint)
    if any(part in said.lower() for part in _DAMAGE):
        return StoreError(
            f"The database {database} is damaged ({said}).",
            hint="Stop Penstock and restore the file from a backup, together with its -wal and -shm files.",
        )
    return None
