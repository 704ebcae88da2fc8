"""The protocol's messages in protobuf, from and to the transport-free ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.message import DecodeError

from penstock_scorer.contract.inputs import BadInputError
from penstock_scorer.grpc import wire
from penstock_scorer.grpc.generated import inference_pb2 as pb
from penstock_scorer.inference.datatypes import Datatype
from penstock_scorer.inference.messages import InferRequest, Output, RequestedOutput
from penstock_scorer.inference.tensors import check_datatype, check_shape, from_raw, from_values, to_raw

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from penstock_scorer.inference.model import Model

_RAW_INPUT_CONTENTS = 7
_RAW_OUTPUT_CONTENTS = 6
_INFER_RESPONSE = 2
_FIELDS = {
    Datatype.BOOL: "bool_contents",
    **dict.fromkeys((Datatype.INT8, Datatype.INT16, Datatype.INT32), "int_contents"),
    **dict.fromkeys((Datatype.UINT8, Datatype.UINT16, Datatype.UINT32), "uint_contents"),
    Datatype.INT64: "int64_contents",
    Datatype.UINT64: "uint64_contents",
    Datatype.FP32: "fp32_contents",
    Datatype.FP64: "fp64_contents",
    Datatype.BYTES: "bytes_contents",
}


def parse(model: Model, message: bytes) -> InferRequest:
    """Read a ``ModelInferRequest`` for ``model``.

    Raises:
        BadInputError: it is malformed, or for another model.
    """
    try:
        head, raw = wire.split(message, _RAW_INPUT_CONTENTS)
        found = pb.ModelInferRequest.FromString(head)
    except wire.WireError as error:
        raise BadInputError(f"The message is no ModelInferRequest: {error}.") from None
    except DecodeError:
        raise BadInputError("The message is no ModelInferRequest.") from None
    model.check(found.model_name, found.model_version)
    if raw and len(raw) != len(found.inputs):
        raise BadInputError(f"There are {len(raw)} raw_input_contents for {len(found.inputs)} inputs.")
    inputs: dict[str, NDArray[Any]] = {}
    datatypes: dict[str, Datatype] = {}
    for index, entry in enumerate(found.inputs):
        if not entry.name or entry.name in inputs:
            raise BadInputError(f"Two inputs are called {entry.name!r}." if entry.name else "An input has no name.")
        datatype = check_datatype(entry.name, entry.datatype)
        inputs[entry.name] = _array(entry, datatype, raw[index] if raw else None)
        datatypes[entry.name] = datatype
    if not inputs:
        raise BadInputError("The request has no inputs.")
    outputs = tuple(RequestedOutput(wanted.name) for wanted in found.outputs)
    return InferRequest(inputs, datatypes, found.id, _parameters(found.parameters), outputs)


def request_id(message: bytes) -> str:
    """The id of a request that may be malformed; empty where it cannot be read."""
    try:
        return pb.ModelInferRequest.FromString(wire.split(message, _RAW_INPUT_CONTENTS)[0]).id
    except (wire.WireError, DecodeError):
        return ""


def encode(model: Model, request: InferRequest, outputs: list[Output]) -> tuple[list[tuple[str, str]], bytes]:
    """Write a ``ModelInferResponse``; its contents are raw.

    Raises:
        NotSerializableError: an output holds what the protocol cannot carry.
    """
    answer = pb.ModelInferResponse(model_name=model.name, model_version=model.version, id=request.id)
    for output in outputs:
        described = answer.outputs.add(name=output.name, datatype=output.datatype.value, shape=output.array.shape)
        if output.content_type:
            described.parameters["content_type"].string_param = output.content_type
    contents = [to_raw(output.name, output.datatype, output.array) for output in outputs]
    return [], wire.join(answer.SerializeToString(), _RAW_OUTPUT_CONTENTS, contents)


def streamed(answer: bytes, *, final: bool | None = None) -> bytes:
    """A ``ModelStreamInferResponse`` around a written ``ModelInferResponse``.

    Args:
        answer: The response.
        final: Whether it is the request's last one, told to clients that want to know (:func:`wants_end`).
    """
    # Fields of a message may come in any order, so what is added is put behind.
    return wire.join(b"", _INFER_RESPONSE, [answer if final is None else answer + _final(final=final)])


def wants_end(request: InferRequest | None) -> bool:
    """Whether the client asks to be told a request's last response, as Triton's clients do."""
    return request is not None and request.parameters.get("triton_enable_empty_final_response") is True


def stream_end(model: Model, request: InferRequest | None) -> bytes:
    """An empty ``ModelStreamInferResponse``: the request has all its responses."""
    answer = pb.ModelInferResponse(
        model_name=model.name, model_version=model.version, id=request.id if request is not None else ""
    )
    return streamed(answer.SerializeToString(), final=True)


def _final(*, final: bool) -> bytes:
    answer = pb.ModelInferResponse()
    answer.parameters["triton_final_response"].bool_param = final
    return answer.SerializeToString()


def stream_error(message: str, request_id: str) -> bytes:
    """A ``ModelStreamInferResponse`` for a request that failed."""
    return pb.ModelStreamInferResponse(
        error_message=message, infer_response=pb.ModelInferResponse(id=request_id)
    ).SerializeToString()


def _array(entry: pb.ModelInferRequest.InferInputTensor, datatype: Datatype, raw: memoryview | None) -> NDArray[Any]:
    name = entry.name
    shape = check_shape(name, list(entry.shape))
    if raw is not None:
        if entry.HasField("contents"):
            raise BadInputError(f"Tensor {name!r} has both contents and raw_input_contents.")
        return from_raw(name, datatype, shape, raw)
    field = _FIELDS.get(datatype)
    if field is None:
        raise BadInputError(f"Tensor {name!r} is {datatype.value}: it must be in raw_input_contents.")
    return from_values(name, datatype, shape, list(getattr(entry.contents, field)))


def _parameters(found: Mapping[str, pb.InferParameter]) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    for name, value in found.items():
        choice = value.WhichOneof("parameter_choice")
        parameters[name] = None if choice is None else getattr(value, choice)
    return parameters
