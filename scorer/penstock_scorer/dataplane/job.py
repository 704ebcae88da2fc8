"""A request on its way: what the transport hands to the dataplane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

Headers = list[tuple[str, str]]


class Exchange(Protocol):
    """The transport's end of one request. Both methods may be called from any thread, one of them, once."""

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer. Does nothing when the client has left."""

    def stream(self, status: int, headers: Headers) -> Callable[[bytes], bool]:
        """Start an answer of unknown length; the result sends a chunk and says whether to go on."""


class Task(Protocol):
    """Work that brings its own call and its own wire format, instead of those of ``/score``."""

    @property
    def call(self) -> Callable[..., Any]:
        """The script's function."""

    def arguments(self) -> dict[str, Any]:
        """What to call it with. Raises ``BadInputError``."""

    def encode(self, result: Any) -> tuple[Headers, bytes]:
        """Headers and body of a 200 answer. Raises ``BadInputError`` or ``NotSerializableError``."""


class Job:
    """One request whose body has arrived.

    Exactly one thread may start it (:meth:`start`), and exactly one may answer it (:meth:`take_answer`): a
    slot that runs it, or the watchman when it waited or ran too long. Both rest on ``list.pop`` being atomic,
    which costs a tenth of a lock.
    """

    __slots__ = (
        "_startable",
        "_unanswered",
        "body",
        "content_type",
        "deadline",
        "exchange",
        "expires",
        "headers",
        "method",
        "path",
        "query",
        "received",
        "tail",
        "task",
    )

    def __init__(  # noqa: PLR0917 - made for every request: keywords would cost as much as the rest of it
        self,
        exchange: Exchange,
        method: str,
        path: str,
        query: str,
        content_type: str,
        headers: Callable[[], Headers],
        tail: Headers,
        received: float,
        deadline: float | None = None,
    ) -> None:
        self.exchange = exchange
        self.method = method
        self.path = path
        self.query = query
        self.content_type = content_type
        self.headers = headers
        """The request's headers, read only where the script asks for them."""
        self.tail = tail
        """Headers every answer ends with: ids, server version, CORS."""
        self.received = received
        self.deadline = deadline
        """When the caller stops waiting, on the executor's clock."""
        self.body = b""
        self.task: Task | None = None
        """None: the contract of ``/score``."""
        self.expires: float | None = None
        """When it has waited for a slot long enough."""
        self._startable: list[Any] = [None]
        self._unanswered: list[Any] = [None]

    def start(self) -> bool:
        """Claim the work; False when another thread has it or it was given up."""
        try:
            self._startable.pop()
        except IndexError:
            return False
        return True

    @property
    def waiting(self) -> bool:
        """Whether nobody has claimed the work."""
        return bool(self._startable)

    def take_answer(self) -> bool:
        """Claim the right to answer; False when it has been answered."""
        try:
            self._unanswered.pop()
        except IndexError:
            return False
        return True
