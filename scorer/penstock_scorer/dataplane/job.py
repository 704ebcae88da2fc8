"""A request on its way: what the transport hands to the dataplane."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from penstock_scorer.dataplane.forks import end_if_forked

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from penstock_scorer.telemetry.metrics import Lane

Headers = list[tuple[str, str]]


class Sink(Protocol):
    """An answer that goes out in pieces, one after the other; at least one is sent before it is ended."""

    def send(self, piece: bytes) -> bool:
        """Send a piece, as soon as the client has room for it; False when the client has left."""

    async def send_async(self, piece: bytes) -> bool:
        """As :meth:`send`, without holding up the event loop."""

    def end(self) -> None:
        """The answer is whole."""

    def abort(self, last: bytes = b"") -> None:
        """Send ``last``, then break the answer off, so that the client sees that it is not whole. Returns at once."""


class Exchange(Protocol):
    """The transport's end of one request. May be called from any thread; ``respond`` or ``stream``, and once."""

    def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer. Does nothing when the client has left."""

    def stream(self, status: int, headers: Headers) -> Sink:
        """Start an answer of unknown length."""

    def watch(self, gone: Callable[[], None]) -> None:
        """Call ``gone``, from any thread, when the client leaves before it has its answer."""

    def unwatch(self) -> None:
        """End :meth:`watch`."""

    def hold(self, send: Callable[[], None]) -> bool:
        """Whether ``send``, which responds, will be called in a moment, by any thread, together with others."""

    def cut(self) -> None:
        """Have nobody wait for an answer that has not gone out by now: whoever had it was interrupted."""


class Task(Protocol):
    """Work with a wire format of its own, instead of that of ``/score``: read and written on the slot's thread."""

    @property
    def streams(self) -> bool:
        """Whether the pieces of a result may be answered one by one, each written by :meth:`encode`."""

    @property
    def most_pieces(self) -> int:
        """Otherwise: how many pieces of a result fit into the one answer."""

    def gathered(self, pieces: list[Any]) -> Any:
        """These pieces as one result."""

    def inputs(self) -> Mapping[str, Any] | None:
        """Tensors for ``infer``, which may be merged; None: use :meth:`arguments`. Raises ``BadInputError``."""

    def arguments(self) -> dict[str, Any]:
        """What to call ``call`` with. Raises ``BadInputError``."""

    @property
    def call(self) -> Callable[..., Any]:
        """The script's function, once :meth:`arguments` has been called."""

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
        "closed",
        "content_type",
        "deadline",
        "encode",
        "exchange",
        "expires",
        "headers",
        "held",
        "inputs",
        "lane",
        "method",
        "path",
        "query",
        "received",
        "tail",
        "task",
        "watched",
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
        self.lane: Lane | None = None
        """Counters of the transport's thread; None: HTTP's."""
        self.expires: float | None = None
        """When it has waited for a slot long enough."""
        self.closed = False
        """Whether it has been counted as no longer in flight."""
        self.watched = False
        """Whether its client is watched for leaving."""
        self.inputs: Mapping[str, Any] | None = None
        """Tensors for ``infer``; None: the task or the body is for ``run``."""
        self.encode: Callable[[Any], tuple[Headers, bytes]] | None = None
        """With ``inputs`` or ``task``: writes what the script returned, on the slot's thread."""
        self.held = False
        """Whether its answer is held back, for others to send."""
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

    @property
    def answered(self) -> bool:
        """Whether the answer has been claimed."""
        return not self._unanswered

    def take_answer(self) -> bool:
        """Claim the right to answer; False when it has been answered. Does not return in a forked child."""
        end_if_forked()
        try:
            self._unanswered.pop()
        except IndexError:
            return False
        return True
