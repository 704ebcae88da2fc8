"""A request and an answer of the protocol, whatever wire they travel on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from penstock_scorer.inference.datatypes import Datatype


@dataclass(frozen=True)
class RequestedOutput:
    """An output the client asks for."""

    name: str
    binary: bool | None = None
    """Whether its contents travel raw; None: as the request says (REST only; gRPC's always do)."""


@dataclass(frozen=True)
class InferRequest:
    """What the client sent, checked."""

    inputs: dict[str, NDArray[Any]]
    datatypes: dict[str, Datatype]
    """Of each input, as the client declared it."""
    id: str = ""
    parameters: dict[str, Any] = field(default_factory=dict)
    outputs: tuple[RequestedOutput, ...] = ()
    """Empty: every output the script gives."""
    binary_output: bool = False
    """Whether outputs travel raw that do not say (REST only)."""


@dataclass(frozen=True)
class Output:
    """One tensor of an answer."""

    name: str
    datatype: Datatype
    array: NDArray[Any]
    content_type: str = ""
    """What a BYTES element holds where it is more than text: ``application/json``."""
