"""The connection to the database, and what makes SQLite behave as a server's store must.

- WAL, so that readers never wait for the writer; foreign keys on.
- Writers take the write lock at BEGIN (``BEGIN IMMEDIATE``) and queue on an :class:`asyncio.Lock` in this process:
  SQLite's own waiting polls with sleeps of up to 100 ms, and upgrading a read lock can fail at once.
- Statements run on the event loop's thread: they take some ten microseconds, and handing each to a thread and back
  takes longer than that (docs/decisions/store-on-the-loop.md has the numbers). A commit waits for the disk, so it runs
  in a thread.
- ``synchronous=FULL``: what was accepted survives a power cut (docs/decisions/store-durability.md).
- SQLAlchemy's errors about disks, locks and damage become one clear sentence each.

Repositories see :class:`Executor` alone, which SQLAlchemy's ``AsyncConnection`` fulfils too: PostgreSQL will be another
class beside :class:`Database`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, CursorResult, Engine, Executable, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from controlplane.domain.errors import PenstockError, ResourceExhaustedError, StoreError

T = TypeVar("T")
LOCK_SECONDS = 5.0
"""How long a write waits for another process's."""
_RETRY_SECONDS = 0.02
_WRITES = "penstock_writes"
_POOLED = 4
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "busy_timeout=50",  # milliseconds the loop may stand still; longer waits are in _begin_writing
    "temp_store=MEMORY",
    "cache_size=-4000",  # KiB a connection
    "journal_size_limit=16777216",  # bytes the WAL is cut back to after a checkpoint
)


class Executor(Protocol):
    """Runs statements within one transaction."""

    async def execute(self, statement: Executable, parameters: Any = None, /) -> CursorResult[Any]:
        """The statement's buffered result."""


class Database:
    """Short transactions against one SQLite file. Use it from one event loop."""

    def __init__(self, url: str, *, lock_seconds: float = LOCK_SECONDS) -> None:
        parsed = make_url(url)
        if parsed.get_backend_name() != "sqlite" or not parsed.database:
            raise StoreError(
                f"The database URL {parsed.render_as_string()} is not one of SQLite's.",
                hint="Use sqlite:///PATH, or leave PENSTOCK_DATABASE_URL unset.",
            )
        self._file = parsed.database
        self._lock_seconds = lock_seconds
        self._writer = asyncio.Lock()
        self._engine = _engine(self._file)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Executor]:
        """A consistent view; what is written in it is rolled back."""
        with self._clear_errors(), self._engine.connect() as connection:
            yield _Inline(connection)

    @asynccontextmanager
    async def write(self, committed: Callable[[], None] = lambda: None) -> AsyncIterator[Executor]:
        """One transaction, committed when the block ends well, rolled back when it raises.

        ``committed`` is called once it is committed, also when the caller is cancelled during the commit: nothing
        that was stored goes untold.
        """
        with self._clear_errors():
            async with self._writing() as connection:
                yield _Inline(connection)
                await _through(_commit(connection, committed))

    async def migrate(self, change: Callable[[Connection], None]) -> None:
        """Run ``change`` in one transaction, in a thread, and commit it."""
        with self._clear_errors():
            async with self._writing() as connection:
                await _through(asyncio.to_thread(change, connection))
                await _through(_commit(connection, lambda: None))

    async def close(self) -> None:
        """Close every connection; SQLite folds its WAL back into the database file."""
        await asyncio.to_thread(self._engine.dispose)

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[Connection]:
        async with self._writer:
            with self._engine.connect() as plain:
                connection = plain.execution_options(**{_WRITES: True})
                await self._begin_writing(connection)
                yield connection

    async def _begin_writing(self, connection: Connection) -> None:
        deadline = asyncio.get_running_loop().time() + self._lock_seconds
        while True:
            try:
                connection.begin()
            except OperationalError as error:
                if "database is locked" not in str(error.orig) or asyncio.get_running_loop().time() >= deadline:
                    raise
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            clear = _clear(error, self._file)
            if clear is None:
                raise
            raise clear from error


class _Inline:
    """An :class:`Executor` that never leaves the loop's thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def execute(self, statement: Executable, parameters: Any = None, /) -> CursorResult[Any]:
        """The statement's buffered result."""
        return self._connection.execute(statement, parameters)


def _engine(file: str) -> Engine:
    engine = create_engine(
        f"sqlite:///{file}",
        poolclass=QueuePool,
        pool_size=_POOLED,
        max_overflow=-1,  # waiting for a connection would be waiting on the loop's thread
        connect_args={"check_same_thread": False},  # one thread at a time: the loop's, or that of a commit
    )
    event.listen(engine, "do_connect", _make_private)
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _make_private(_dialect: object, _record: object, arguments: Sequence[str], _named: object) -> None:
    """Make a new file for its owner alone: users' environment variables are in it. Its -wal and -shm get its mode.

    One that exists is not touched: closing any descriptor of it would drop SQLite's locks.
    """
    with suppress(OSError):
        os.close(os.open(arguments[0], os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _configure(dbapi_connection: Any, _record: object) -> None:
    dbapi_connection.isolation_level = None  # the driver begins nothing by itself; _begin does
    for pragma in _PRAGMAS:
        dbapi_connection.execute(f"PRAGMA {pragma}").close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(_WRITES) else "BEGIN")


async def _commit(connection: Connection, committed: Callable[[], None]) -> None:
    await asyncio.to_thread(connection.commit)
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
        "The database {database} is locked by another process.",
        "Find the process that has the file open (lsof), end it, and repeat the call.",
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
