"""The protocol's element types, and which numpy type stands for each.

Two types have no numpy twin. BF16 is widened to float32, which holds every BF16 value exactly and which every library
takes; an array of ``ml_dtypes.bfloat16`` is sent as BF16. BYTES is an object array of ``bytes``.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


class Datatype(enum.Enum):
    """The type of a tensor's elements, by the name the protocol gives it."""

    BOOL = "BOOL"
    UINT8 = "UINT8"
    UINT16 = "UINT16"
    UINT32 = "UINT32"
    UINT64 = "UINT64"
    INT8 = "INT8"
    INT16 = "INT16"
    INT32 = "INT32"
    INT64 = "INT64"
    FP16 = "FP16"
    BF16 = "BF16"
    FP32 = "FP32"
    FP64 = "FP64"
    BYTES = "BYTES"

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy type a script is given."""
        return _DTYPES[self]

    @property
    def size(self) -> int:
        """Bytes of one element on the wire; 0: each has its own length."""
        return _SIZES[self]


def of(array: NDArray[Any]) -> Datatype | None:
    """The type an array is sent as; None for what the protocol does not know (complex numbers, dates)."""
    dtype = array.dtype
    found = _BY_KIND.get((dtype.kind, dtype.itemsize))
    if found is None and dtype.kind in "OSU":
        return Datatype.BYTES
    if found is None and dtype.name == "bfloat16":
        return Datatype.BF16
    return found


def _little(code: str) -> np.dtype[Any]:
    wanted: DTypeLike = "<" + code
    return np.dtype(wanted)


_DTYPES = {
    Datatype.BOOL: np.dtype(np.bool_),
    Datatype.UINT8: _little("u1"),
    Datatype.UINT16: _little("u2"),
    Datatype.UINT32: _little("u4"),
    Datatype.UINT64: _little("u8"),
    Datatype.INT8: _little("i1"),
    Datatype.INT16: _little("i2"),
    Datatype.INT32: _little("i4"),
    Datatype.INT64: _little("i8"),
    Datatype.FP16: _little("f2"),
    Datatype.BF16: _little("f4"),
    Datatype.FP32: _little("f4"),
    Datatype.FP64: _little("f8"),
    Datatype.BYTES: np.dtype(np.object_),
}
_SIZES = {kind: dtype.itemsize for kind, dtype in _DTYPES.items()} | {Datatype.BF16: 2, Datatype.BYTES: 0}
_BY_KIND = {
    (dtype.kind, dtype.itemsize): kind for kind, dtype in _DTYPES.items() if kind not in (Datatype.BF16, Datatype.BYTES)
}
