"""How a script is called with tensors: ``infer`` with arrays as they are, ``run`` with what it is used to.

``run`` gets the same thing ``/score`` would give it. One tensor is ``{"data": nested lists}``, several are
``{name: nested lists, ...}``: a JSON text for a plain ``run``, the parameters for a decorated one (where one tensor
also fits the one required parameter, whatever its name), a POST to ``/score`` for ``@rawhttp``. BYTES are text.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from penstock_scorer.contract.inputs import BadInputError, InputMode
from penstock_scorer.contract.results import NotSerializableError, to_json
from penstock_scorer.inference.datatypes import Datatype
from penstock_scorer.inference.messages import InferRequest, Output
from penstock_scorer.inference.tensors import to_array, to_json_values

if TYPE_CHECKING:
    from collections.abc import Callable

    from penstock_scorer.contract.script import Script
    from penstock_scorer.contract.signature import RunSignature
    from penstock_scorer.dataplane.job import Headers

UNNAMED = "output-0"
"""The output of a script that gives its result no name, unless the client asks for exactly one by another."""
_ERROR = 400


class Callee(Protocol):
    """A function of the script, as the protocol calls it."""

    @property
    def most_pieces(self) -> int:
        """How many pieces of a generator's result fit into one answer."""

    def gathered(self, pieces: list[Any]) -> Any:
        """These pieces as one result."""

    @property
    def call(self) -> Callable[..., Any]:
        """The function."""

    def arguments(self, request: InferRequest, headers: Callable[[], Headers]) -> dict[str, Any]:
        """What to call it with.

        Raises:
            BadInputError: the request is not what the script can be called with.
        """

    def outputs(self, request: InferRequest, result: Any) -> list[Output]:
        """What it returned, as tensors.

        Raises:
            NotSerializableError: it is not what the protocol can carry.
            BadInputError: the script refused the request.
        """


def of(script: Script) -> Callee:
    """What the protocol calls: the script's ``infer``, else its ``run``."""
    return RunCallee(script.run) if script.infer is None else InferCallee.of(script.infer)


@dataclass(frozen=True)
class InferCallee:
    """A script's ``infer(inputs)``; it may also take ``parameters`` and ``request_headers``."""

    call: Callable[..., Any]
    inputs_name: str
    wants_parameters: bool
    wants_headers: bool
    most_pieces: ClassVar[int] = 1
    """What two dictionaries of arrays would be together is not defined."""

    @staticmethod
    def gathered(pieces: list[Any]) -> Any:
        """The one piece; without any, no tensors."""
        return pieces[0] if pieces else {}

    @classmethod
    def of(cls, infer: Callable[..., Any]) -> InferCallee:
        """Read its signature, which :func:`penstock_scorer.contract.signature.check_infer` has accepted."""
        names = list(inspect.signature(infer).parameters)
        return cls(infer, names[0], "parameters" in names[1:], "request_headers" in names[1:])

    def arguments(self, request: InferRequest, headers: Callable[[], Headers]) -> dict[str, Any]:
        """The arrays under the name the script gave them."""
        arguments: dict[str, Any] = {self.inputs_name: request.inputs}
        if self.wants_parameters:
            arguments["parameters"] = request.parameters
        if self.wants_headers:
            arguments["request_headers"] = dict(headers())
        return arguments

    @staticmethod
    def outputs(_request: InferRequest, result: Any) -> list[Output]:
        """One tensor for each entry of the dictionary."""
        if not isinstance(result, dict) or not all(isinstance(name, str) for name in result):
            raise NotSerializableError(f"infer() returned {type(result).__name__}, not a dict of arrays by name.")
        return [Output(name, *to_array(name, value)) for name, value in result.items()]


class RunCallee:
    """A script's ``run``, in any of its modes."""

    most_pieces = 65536
    """A generator without an end must not fill the memory."""

    @staticmethod
    def gathered(pieces: list[Any]) -> Any:
        """A list of them."""
        return pieces

    def __init__(self, signature: RunSignature) -> None:
        self.call = signature.call
        self._signature = signature
        required = [parameter for parameter in signature.parameters if parameter.required]
        self._only = required[0].name if len(required) == 1 else None

    def arguments(self, request: InferRequest, headers: Callable[[], Headers]) -> dict[str, Any]:
        """As the module's docstring says."""
        values = {name: to_json_values(name, array) for name, array in request.inputs.items()}
        if self._signature.mode is InputMode.OBJECT:
            arguments = self._parameters(values)
        else:
            text = json.dumps({"data": next(iter(values.values()))} if len(values) == 1 else values)
            name = self._signature.parameters[0].name
            arguments = {name: text if self._signature.mode is InputMode.TEXT else _raw(text, headers())}
        if self._signature.wants_headers:
            arguments["request_headers"] = {name.title(): value for name, value in headers()}
        return arguments

    def outputs(self, request: InferRequest, result: Any) -> list[Output]:
        """A dictionary of arrays is tensors by name, an array is one tensor, anything else is JSON text in one."""
        if hasattr(result, "get_data") and hasattr(result, "status_code"):
            result = _from_response(result)
        if result is None:
            return []
        if isinstance(result, dict) and all(isinstance(key, str) for key in result):
            try:
                return [Output(name, *_plain_array(name, value)) for name, value in result.items()]
            except NotSerializableError:
                return [_json_output(_unnamed(request), result)]
        name = _unnamed(request)
        try:
            return [Output(name, *_plain_array(name, result))]
        except NotSerializableError:
            return [_json_output(name, result)]

    def _parameters(self, values: dict[str, Any]) -> dict[str, Any]:
        parameters = self._signature.parameters
        names = {parameter.name for parameter in parameters}
        if len(values) == 1 and self._only is not None and not values.keys() & names:
            values = {self._only: next(iter(values.values()))}
        unknown = sorted(values.keys() - names)
        if unknown:
            raise BadInputError(f"run() has no parameter {unknown[0]!r}: it has {', '.join(sorted(names))}.")
        for parameter in parameters:
            if parameter.name not in values:
                if parameter.required:
                    raise BadInputError(f"A value is not provided for the {parameter.name!r} parameter.")
                values[parameter.name] = parameter.default
        return values


def _unnamed(request: InferRequest) -> str:
    return request.outputs[0].name if len(request.outputs) == 1 else UNNAMED


def _plain_array(name: str, value: Any) -> tuple[Datatype, Any]:
    """An array of what JSON calls an array or a value; not of objects, nor of a mixture that numpy would make text."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return Datatype.BYTES, _one(bytes(value))
    if isinstance(value, (dict, set)) or value is None:
        raise NotSerializableError(f"Output {name!r} is no array.")
    datatype, array = to_array(name, value)
    if datatype is Datatype.BYTES and not isinstance(value, (np.ndarray, np.generic)):
        flat = np.asarray(value, np.object_).reshape(-1).tolist()
        if not all(isinstance(element, (str, bytes)) for element in flat):
            raise NotSerializableError(f"Output {name!r} is no array of text.")
    return datatype, np.atleast_1d(array)


def _json_output(name: str, result: Any) -> Output:
    return Output(name, Datatype.BYTES, _one(to_json(result)), "application/json")


def _one(element: bytes) -> Any:
    array = np.empty(1, np.object_)
    array[0] = element
    return array


def _raw(text: str, headers: Headers) -> Any:
    from penstock_scorer.contract.amlhttp import build_request  # noqa: PLC0415 - Werkzeug is an extra

    ours = ("content-type", "content-length", "inference-header-content-length")
    kept = [header for header in headers if header[0] not in ours]
    return build_request(
        method="POST", path="/score", query="", headers=[*kept, ("content-type", "application/json")],
        body=text.encode("ascii"),
    )  # fmt: skip


def _from_response(response: Any) -> Any:
    body = response.get_data()
    response.close()
    if response.status_code >= _ERROR:
        raise BadInputError(body.decode("utf-8", "replace") or "The script refused the request.", response.status_code)
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError):
        return np.array([body], np.object_)
