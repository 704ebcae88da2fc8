"""From what a client sent to arrays, and back. Everything a client can get wrong is found here, before numpy is asked.

Raw contents become arrays without a copy wherever their address allows it. Where it does not (a tensor that
starts in the middle of a message, say), one aligned copy is made: numpy can read the other, but native code
behind it may crash on it, and the client chooses the address. Arrays over raw contents are read-only.
"""

from __future__ import annotations

import struct
from contextlib import nullcontext
from itertools import chain
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from penstock_scorer.contract.inputs import BadInputError
from penstock_scorer.contract.results import NotSerializableError
from penstock_scorer.inference.datatypes import Datatype, of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    Buffer = bytes | memoryview

MAX_DIMENSIONS = 32
"""What every numpy this package supports can hold."""
_MAX_DIMENSION = 2**63 - 1
_INTEGERS = frozenset("iu")
_INT = frozenset({int})
_NARROW = frozenset({Datatype.FP16, Datatype.BF16, Datatype.FP32})
"""What a Python float may be too large for."""
_LENGTH = struct.Struct("<I")
_NOTHING = nullcontext()


def check_shape(name: str, shape: Any) -> tuple[int, ...]:
    """A shape as sent, checked.

    Raises:
        BadInputError: not a list of whole numbers from 0 to 2^63 - 1, or more than 32 of them.
    """
    if not isinstance(shape, (list, tuple)) or not set(map(type, shape)) <= _INT:
        raise BadInputError(f"The shape of tensor {name!r} is not a list of whole numbers.")
    if len(shape) > MAX_DIMENSIONS:
        raise BadInputError(f"Tensor {name!r} has {len(shape)} dimensions, more than {MAX_DIMENSIONS}.")
    if shape and not 0 <= min(shape) <= max(shape) <= _MAX_DIMENSION:
        raise BadInputError(f"The shape of tensor {name!r} has a size that is negative or too large.")
    return tuple(shape)


def check_datatype(name: str, datatype: Any) -> Datatype:
    """A datatype as sent.

    Raises:
        BadInputError: the protocol has no such type.
    """
    try:
        return Datatype(datatype)
    except ValueError:
        raise BadInputError(f"The datatype of tensor {name!r} is {_shown(datatype)}, which is not known.") from None


def from_raw(name: str, datatype: Datatype, shape: tuple[int, ...], raw: Buffer) -> NDArray[Any]:
    """An array over raw contents.

    Raises:
        BadInputError: their number of bytes is not the shape's, a BOOL is neither 0 nor 1, or BYTES are cut short.
    """
    count = prod(shape)
    if datatype is Datatype.BYTES:
        return _shaped(name, _objects(_elements(name, raw, count)), shape)
    if len(raw) != count * datatype.size:
        raise BadInputError(
            f"Tensor {name!r} has {len(raw)} bytes of contents; its shape and datatype need {count * datatype.size}."
        )
    if count == 0:
        return _shaped(name, np.empty(0, datatype.dtype), shape)
    if datatype is Datatype.BF16:
        halves = np.frombuffer(raw, np.dtype("<u2"))
        return _shaped(name, (halves.astype(np.dtype("<u4")) << 16).view(np.dtype("<f4")), shape)
    if datatype is Datatype.BOOL and np.frombuffer(raw, np.uint8).max() > 1:
        raise BadInputError(f"Tensor {name!r} is BOOL and has a byte that is neither 0 nor 1.")
    array: NDArray[Any] = np.frombuffer(raw, datatype.dtype)
    return _shaped(name, array if array.flags.aligned else array.copy(), shape)


def from_values(name: str, datatype: Datatype, shape: tuple[int, ...], values: Any) -> NDArray[Any]:
    """An array of values: a list, flat or nested as the shape says.

    Raises:
        BadInputError: their number is not the shape's, or one is not of the datatype or out of its range.
    """
    flat = _flat(name, values)
    count = prod(shape)
    if len(flat) != count:
        raise BadInputError(f"Tensor {name!r} has {len(flat)} elements; its shape needs {count}.")
    wrong = set(map(type, flat)) - _PYTHON_TYPES[datatype]
    if wrong:
        kinds = ", ".join(sorted(kind.__name__ for kind in wrong))
        raise BadInputError(f"Tensor {name!r} is {datatype.value} and has elements of type {kinds}.")
    if datatype is Datatype.BYTES:
        return _shaped(name, _objects([text if type(text) is bytes else _encode(name, text) for text in flat]), shape)
    if datatype.dtype.kind in _INTEGERS and flat:
        info = np.iinfo(datatype.dtype)
        if min(flat) < info.min or max(flat) > info.max:
            raise BadInputError(f"Tensor {name!r} is {datatype.value} and has an element out of its range.")
    try:
        # Where nothing can be too large, silencing the warning costs as much as the array.
        with np.errstate(over="ignore") if datatype in _NARROW else _NOTHING:
            return _shaped(name, np.array(flat, datatype.dtype), shape)
    except (ValueError, OverflowError):
        raise BadInputError(f"Tensor {name!r} has an element that {datatype.value} cannot hold.") from None


def to_array(name: str, value: Any) -> tuple[Datatype, NDArray[Any]]:
    """What a script returned for an output, ready to be sent.

    Raises:
        NotSerializableError: no array, or of a type the protocol does not know.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise NotSerializableError(f"Output {name!r} is no array: {error}.") from error
    datatype = of(array)
    if datatype is None:
        raise NotSerializableError(f"Output {name!r} has the type {array.dtype}, which the protocol does not know.")
    return datatype, array


def to_raw(name: str, datatype: Datatype, array: NDArray[Any]) -> Buffer:
    """The raw contents of an output; a view of the array where it is contiguous.

    Raises:
        NotSerializableError: an element of BYTES is neither ``bytes`` nor ``str``.
    """
    if datatype is Datatype.BYTES:
        parts: list[bytes] = []
        for element in _texts(name, array):
            parts.extend((_LENGTH.pack(len(element)), element))
        return b"".join(parts)
    if array.size == 0:
        return b""
    if datatype is Datatype.BF16:
        array = array.view(np.uint16)
    contiguous = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return contiguous.reshape(-1).view(np.uint8).data


def to_values(name: str, datatype: Datatype, array: NDArray[Any]) -> list[Any]:
    """The elements of an output as a flat list for JSON.

    Raises:
        NotSerializableError: as :func:`to_raw`.
        BadInputError: BYTES that are not UTF-8 (the client can ask for binary data instead).
    """
    if datatype is Datatype.BYTES:
        try:
            return [str(element, "utf-8") for element in _texts(name, array)]
        except UnicodeDecodeError:
            message = f"Output {name!r} has bytes that are not UTF-8: ask for it with binary_data."
            raise BadInputError(message) from None
    if datatype is Datatype.BF16:
        array = array.astype(np.float32)
    found: list[Any] = array.reshape(-1).tolist()
    return found


def to_json_values(name: str, array: NDArray[Any]) -> Any:
    """An input as nested lists, for a script that reads JSON.

    Raises:
        BadInputError: BYTES that are not UTF-8.
    """
    if array.dtype.kind != "O":
        return array.tolist()
    try:
        texts = [str(element, "utf-8") for element in array.reshape(-1)]
    except UnicodeDecodeError:
        raise BadInputError(f"Tensor {name!r} has bytes that are not UTF-8, and the script reads text.") from None
    return _shaped(name, _objects(texts), array.shape).tolist()


def _shaped(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    try:
        return array.reshape(shape)
    except (ValueError, OverflowError):
        # Only an empty array gets here: (0, 2**62, 2**62) is more than numpy can count.
        raise BadInputError(f"The shape of tensor {name!r} is too large.") from None


def _elements(name: str, raw: Buffer, count: int) -> list[bytes]:
    """The elements of BYTES: each a length of four bytes, then as many bytes."""
    found: list[bytes] = []
    at, end = 0, len(raw)
    while at < end:
        start = at + _LENGTH.size
        if start > end:
            raise BadInputError(f"The contents of tensor {name!r} end inside the length of an element.")
        at = start + _LENGTH.unpack_from(raw, at)[0]
        if at > end:
            raise BadInputError(f"The contents of tensor {name!r} end inside an element.")
        found.append(bytes(raw[start:at]))
    if len(found) != count:
        raise BadInputError(f"Tensor {name!r} has {len(found)} elements; its shape needs {count}.")
    return found


def _objects(elements: Sequence[Any]) -> NDArray[Any]:
    array: NDArray[Any] = np.empty(len(elements), np.object_)
    array[:] = elements
    return array


def _flat(name: str, values: Any) -> list[Any]:
    flat: list[Any] = values if type(values) is list else [values]
    while list in set(map(type, flat)):
        if len({len(value) if type(value) is list else -1 for value in flat}) != 1:
            raise BadInputError(f"The data of tensor {name!r} are lists of different lengths.")
        flat = list(chain.from_iterable(flat))
    return flat


def _encode(name: str, text: str) -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:
        raise BadInputError(f"Tensor {name!r} has text that is no Unicode (a lone surrogate).") from None


def _texts(name: str, array: NDArray[Any]) -> Iterable[bytes]:
    for element in array.reshape(-1).tolist():
        if type(element) is bytes:
            yield element
        elif isinstance(element, str):
            yield element.encode("utf-8", "backslashreplace")
        else:
            kind = type(element).__name__
            raise NotSerializableError(f"Output {name!r} has an element of type {kind}, neither bytes nor str.")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 50 else text[:50] + "..."  # noqa: PLR2004


_PYTHON_TYPES: dict[Datatype, frozenset[type]] = {
    **dict.fromkeys(Datatype, frozenset({int})),
    **dict.fromkeys((Datatype.FP16, Datatype.BF16, Datatype.FP32, Datatype.FP64), frozenset({int, float})),
    Datatype.BOOL: frozenset({bool}),
    Datatype.BYTES: frozenset({str, bytes}),
}
