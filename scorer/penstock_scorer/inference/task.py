"""One inference on its way through the dataplane: parse, call, encode, all on the slot's thread.

Parsing belongs there and not on the transport's thread: a megabyte of JSON numbers takes longer than anything
the transport may wait for.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from penstock_scorer.batching.arrays import Share
from penstock_scorer.contract.inputs import BadInputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from penstock_scorer.dataplane.job import Headers
    from penstock_scorer.inference.messages import InferRequest, Output
    from penstock_scorer.inference.model import Model
    from penstock_scorer.inference.served import Served


class Inference(ABC):
    """A :class:`~penstock_scorer.dataplane.job.Task`; what differs by wire format is in the classes below it.

    Args:
        served: What the request is checked against, and the script's function.
        headers: The request's headers or metadata.
        streams: Whether a result in pieces may be answered one by one.
    """

    __slots__ = ("_headers", "_served", "request", "streams")

    def __init__(self, served: Served, headers: Callable[[], Headers], *, streams: bool = False) -> None:
        self.streams = streams
        self._served = served
        self._headers = headers
        self.request: InferRequest | None = None
        """Set by :meth:`arguments` and :meth:`inputs`."""

    @abstractmethod
    def parse(self) -> InferRequest:
        """What arrived. Raises ``BadInputError``."""

    @abstractmethod
    def write(self, request: InferRequest, outputs: list[Output]) -> tuple[Headers, bytes]:
        """The answer's headers and body. Raises ``BadInputError`` or ``NotSerializableError``."""

    @property
    def call(self) -> Callable[..., Any]:
        """The script's function."""
        return self._served.callee().call

    @property
    def model(self) -> Model:
        """What the request is for."""
        return self._served.model

    @property
    def most_pieces(self) -> int:
        """How many pieces of a result fit into one answer."""
        return self._served.callee().most_pieces

    def gathered(self, pieces: list[Any]) -> Any:
        """These pieces as one result."""
        return self._served.callee().gathered(pieces)

    def inputs(self) -> Mapping[str, Any] | None:
        """The tensors, where the script's ``infer`` takes nothing else; None: ask for :meth:`arguments`.

        Raises:
            BadInputError: the request is malformed, or not what the model takes.
        """
        return self._read().inputs if self._served.merges else None

    def arguments(self) -> dict[str, Any]:
        """What to call the script with.

        Raises:
            BadInputError: the request is malformed, or not what the model or the script takes.
        """
        request = self._read()
        return self._served.callee().arguments(request, self._headers)

    def _read(self) -> InferRequest:
        # Without numpy there is nothing to read tensors into, and that is what the caller is told.
        self._served.callee()
        self.request = request = self.parse()
        if self._served.model.inputs:
            _check(self._served.model, request)
        return request

    def encode(self, result: Any) -> tuple[Headers, bytes]:
        """The answer's headers and body.

        Raises:
            NotSerializableError: the script returned what the protocol cannot carry.
            BadInputError: the client asks for an output that is not there, or in a form it does not have.
        """
        request = self.request
        assert request is not None  # noqa: S101 - the dataplane calls arguments() or inputs() first
        outputs = self._served.callee().outputs(request, dict(result) if type(result) is Share else result)
        if request.outputs:
            found = {output.name: output for output in outputs}
            for wanted in request.outputs:
                if wanted.name not in found:
                    names = ", ".join(map(repr, found)) or "none"
                    raise BadInputError(f"There is no output {wanted.name!r}: the script gave {names}.")
            outputs = [found[wanted.name] for wanted in request.outputs]
        return self.write(request, outputs)


def _check(model: Model, request: InferRequest) -> None:
    declared = {spec.name: spec for spec in model.inputs}
    for name, array in request.inputs.items():
        if name not in declared:
            raise BadInputError(f"Model {model.name!r} has no input {name!r}: it has {', '.join(map(repr, declared))}.")
        mismatch = declared[name].mismatch(request.datatypes[name].value, array.shape)
        if mismatch:
            raise BadInputError(f"Input {name!r} {mismatch}.")
    missing = [name for name in declared if name not in request.inputs]
    if missing:
        raise BadInputError(f"Input {missing[0]!r} is missing.")
