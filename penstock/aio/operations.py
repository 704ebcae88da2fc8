"""A change on its way, and waiting for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from google.longrunning import operations_proto_pb2

from penstock import status
from penstock.aio.transport import Transport
from penstock.errors import DeadlineError, UnavailableError
from penstock.v1 import operation_pb2

T = TypeVar("T")

Progress = Callable[[str], None]
"""Told one line for a person whenever it changes."""

_ROUND_SECONDS = 1.0
"""How long the platform may hold one question; progress is at most that old."""
_SHORTEST_ROUND_SECONDS = 0.1
"""A platform that answers at once is asked no more often than that."""
_PATIENCE_SECONDS = 60.0
"""How long a control plane may be away, as during a restart, before waiting gives up."""


class Operation(Generic[T]):
    """An accepted change. It goes on whether or not anyone waits for it."""

    def __init__(self, transport: Transport, operation: Any, unpack: Callable[[Any], T]) -> None:
        self._transport = transport
        self._unpack = unpack
        self._state = operation

    @property
    def name(self) -> str:
        """The resource name, ``operations/ID``."""
        return str(self._state.name)

    @property
    def done(self) -> bool:
        """Whether it had ended when it was last looked at."""
        return bool(self._state.done)

    @property
    def progress(self) -> str:
        """What was going on when it was last looked at, one line."""
        metadata = operation_pb2.OperationMetadata()
        self._state.metadata.Unpack(metadata)
        return metadata.progress

    async def wait(
        self,
        *,
        timeout: float | None = None,
        progress: Progress | None = None,
    ) -> T:
        """Wait until the change has been carried out, and return the resource as it then was.

        ``timeout`` is in seconds; by default there is none. ``progress`` is told what goes on.

        Raises:
            OperationFailedError: it could not be carried out; the message is the cause.
            DeadlineError: the time is up. The operation goes on.
            UnavailableError: the control plane has been away for a minute.
        """
        deadline = None if timeout is None else self._transport.monotonic() + timeout
        said = ""
        while not self._state.done:
            if progress is not None and self.progress not in ("", said):
                said = self.progress
                progress(said)
            started = self._transport.monotonic()
            if deadline is not None and started >= deadline:
                raise DeadlineError(
                    f"{self.name} has not ended within {timeout:g} s: {self.progress or 'it goes on'}",
                    code="DEADLINE_EXCEEDED",
                )
            left = _ROUND_SECONDS if deadline is None else min(_ROUND_SECONDS, deadline - started)
            await self._look(left, progress)
            spent = self._transport.monotonic() - started
            if not self._state.done and spent < _SHORTEST_ROUND_SECONDS:
                await self._transport.sleep(_SHORTEST_ROUND_SECONDS - spent)
        if self._state.HasField("error"):
            raise status.from_operation(self._state.error)
        return self._unpack(self._state.response)

    async def _look(self, seconds: float, progress: Progress | None) -> None:
        request = operations_proto_pb2.WaitOperationRequest(name=self.name)
        request.timeout.FromNanoseconds(int(seconds * 1e9))
        away_since = self._transport.monotonic()
        while True:
            try:
                self._state = await self._transport.read(
                    self._transport.operations.WaitOperation, request, timeout=seconds + 10
                )
            except UnavailableError:
                if self._transport.monotonic() - away_since > _PATIENCE_SECONDS:
                    raise
                if progress is not None:
                    progress("waiting for the control plane to come back")
                await self._transport.sleep(1)
            else:
                return
