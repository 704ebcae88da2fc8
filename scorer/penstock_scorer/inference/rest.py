"""The protocol as JSON, with the binary tensor extension: contents after the JSON, their sizes inside it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from penstock_scorer.contract.inputs import BadInputError
from penstock_scorer.contract.results import to_json
from penstock_scorer.inference.messages import InferRequest, Output, RequestedOutput
from penstock_scorer.inference.tensors import check_datatype, check_shape, from_raw, from_values, to_raw, to_values

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from penstock_scorer.dataplane.job import Headers
    from penstock_scorer.inference.datatypes import Datatype
    from penstock_scorer.inference.model import Model
    from penstock_scorer.inference.tensors import Buffer

HEADER_LENGTH = "inference-header-content-length"
_JSON: Headers = [("content-type", "application/json")]


def parse(body: bytes, header_length: str | None) -> InferRequest:
    """Read a request.

    Args:
        body: The whole body.
        header_length: The header ``Inference-Header-Content-Length``: how much of the body is JSON; None: all of it.

    Raises:
        BadInputError: it is not a request of the protocol; the message says where.
    """
    length = _header_length(header_length, len(body))
    try:
        found = json.loads(body if length is None else body[:length])
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"The request is not JSON: {error}.") from None
    if not isinstance(found, dict):
        raise BadInputError("The request is not a JSON object.")
    request_id = found.get("id", "")
    if not isinstance(request_id, str):
        raise BadInputError("'id' is not a string.")
    parameters = _parameters("the request", found)
    binary = None if length is None else _Binary(memoryview(body)[length:])
    inputs: dict[str, NDArray[Any]] = {}
    datatypes: dict[str, Datatype] = {}
    for entry in _list("inputs", found):
        name, datatype, array = _input(entry, binary)
        if name in inputs:
            raise BadInputError(f"Two inputs are called {name!r}.")
        inputs[name], datatypes[name] = array, datatype
    if not inputs:
        raise BadInputError("The request has no 'inputs'.")
    if binary is not None:
        binary.finish()
    outputs = tuple(_requested(entry) for entry in _list("outputs", found))
    binary_output = _flag("the request", parameters, "binary_data_output") or False
    return InferRequest(inputs, datatypes, request_id, parameters, outputs, binary_output)


def encode(model: Model, request: InferRequest, outputs: list[Output]) -> tuple[Headers, bytes]:
    """Write an answer of ``model``: the headers that describe the body, and the body.

    Raises:
        NotSerializableError: an output holds what the protocol cannot carry.
        BadInputError: an output is not text, and is wanted as JSON.
    """
    answer: dict[str, Any] = {"model_name": model.name, "model_version": model.version}
    if request.id:
        answer["id"] = request.id
    chosen = {wanted.name: wanted.binary for wanted in request.outputs}
    contents: list[Buffer] = []
    answer["outputs"] = described = []
    for output in outputs:
        binary = chosen.get(output.name)
        raw = request.binary_output if binary is None else binary
        described.append(_output(output, contents if raw else None))
    text = to_json(answer)
    if not contents:
        return _JSON, text
    headers = [("content-type", "application/octet-stream"), (HEADER_LENGTH, str(len(text)))]
    return headers, b"".join((text, *contents))


class _Binary:
    """What follows the JSON, handed out in order."""

    def __init__(self, left: memoryview) -> None:
        self._left = left

    def take(self, name: str, size: Any) -> memoryview:
        if type(size) is not int or size < 0:
            raise BadInputError(f"The binary_data_size of tensor {name!r} is not a whole number.")
        if size > len(self._left):
            raise BadInputError(
                f"Tensor {name!r} says it has {size} bytes of binary data; the body has {len(self._left)} left."
            )
        taken, self._left = self._left[:size], self._left[size:]
        return taken

    def finish(self) -> None:
        if self._left:
            raise BadInputError(f"The body has {len(self._left)} bytes that belong to no tensor.")


def _header_length(text: str | None, size: int) -> int | None:
    if text is None:
        return None
    # Longer numbers are no lengths, and int() would take its time over them.
    if not (text.isascii() and text.isdecimal() and len(text) <= 20 and int(text) <= size):  # noqa: PLR2004
        raise BadInputError(f"Inference-Header-Content-Length is not a whole number up to the body's {size} bytes.")
    return int(text)


def _list(key: str, found: dict[str, Any]) -> list[Any]:
    entries = found.get(key, [])
    if not isinstance(entries, list):
        raise BadInputError(f"{key!r} is not a list.")
    return entries


def _named(kind: str, entry: Any) -> tuple[str, dict[str, Any]]:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not entry["name"]:
        raise BadInputError(f"An entry of {kind!r} has no name.")
    name: str = entry["name"]
    return name, _parameters(f"tensor {name!r}", entry)


def _parameters(owner: str, found: dict[str, Any]) -> dict[str, Any]:
    parameters = found.get("parameters", {})
    if not isinstance(parameters, dict):
        raise BadInputError(f"The parameters of {owner} are not an object.")
    return parameters


def _flag(owner: str, parameters: dict[str, Any], key: str) -> bool | None:
    flag = parameters.get(key)
    if flag is not None and not isinstance(flag, bool):
        raise BadInputError(f"The parameter {key} of {owner} is neither true nor false.")
    return flag


def _input(entry: Any, binary: _Binary | None) -> tuple[str, Datatype, NDArray[Any]]:
    name, parameters = _named("inputs", entry)
    datatype = check_datatype(name, entry.get("datatype"))
    shape = check_shape(name, entry.get("shape"))
    size = parameters.get("binary_data_size")
    if size is not None:
        if binary is None:
            raise BadInputError(f"Tensor {name!r} has binary data, and there is no Inference-Header-Content-Length.")
        if "data" in entry:
            raise BadInputError(f"Tensor {name!r} has both 'data' and binary data.")
        return name, datatype, from_raw(name, datatype, shape, binary.take(name, size))
    if "data" not in entry:
        raise BadInputError(f"Tensor {name!r} has no 'data'.")
    return name, datatype, from_values(name, datatype, shape, entry["data"])


def _requested(entry: Any) -> RequestedOutput:
    name, parameters = _named("outputs", entry)
    return RequestedOutput(name, _flag(f"tensor {name!r}", parameters, "binary_data"))


def _output(output: Output, contents: list[Buffer] | None) -> dict[str, Any]:
    """The output's JSON; its raw contents go to ``contents`` where there is such a list."""
    described: dict[str, Any] = {
        "name": output.name,
        "datatype": output.datatype.value,
        "shape": list(output.array.shape),
    }
    parameters: dict[str, Any] = {"content_type": output.content_type} if output.content_type else {}
    if contents is None:
        described["data"] = to_values(output.name, output.datatype, output.array)
    else:
        raw = to_raw(output.name, output.datatype, output.array)
        contents.append(raw)
        parameters["binary_data_size"] = len(raw)
    if parameters:
        described["parameters"] = parameters
    return described
