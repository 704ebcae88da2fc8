"""Small requests of one tensor of floats, kept as the lists they were read as until they share an array.

An array of each and these joined cost more than the call of a small model; one array of all the lists is cheap.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

_NOTHING = nullcontext()
_DOUBLE = 8


@dataclass(frozen=True)
class Form:
    """What a request of one tensor is, but for the elements."""

    name: str
    dtype: np.dtype[Any]
    """A type of floats."""
    shape: tuple[int, ...]
    """One dimension at least."""
    key: Hashable
    """What requests of this form have in common with all that may share their call."""


class Flat(Mapping[str, "NDArray[Any]"]):
    """The tensors of such a request: one.

    Args:
        form: All but its elements.
        values: Its elements, as many as its form has, and nothing but ``float``: making an array of them never fails.
    """

    __slots__ = ("elements", "form")

    def __init__(self, form: Form, values: list[float]) -> None:
        self.form = form
        self.elements = values

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name != self.form.name:
            raise KeyError(name)
        return join([self], self.form.shape[0])[name]

    def __iter__(self) -> Iterator[str]:
        return iter((self.form.name,))

    def __len__(self) -> int:
        return 1


def join(requests: Sequence[Flat], rows: int) -> dict[str, NDArray[Any]]:
    """The tensors of requests that share a key, ``rows`` together, as those of one."""
    import numpy as np  # noqa: PLC0415 - here already, the form has a dtype

    form = requests[0].form
    values = list(chain.from_iterable([request.elements for request in requests]))
    # What a type of fewer bits cannot hold becomes infinite, which is no reason for a warning.
    with np.errstate(over="ignore") if form.dtype.itemsize < _DOUBLE else _NOTHING:
        array: NDArray[Any] = np.array(values, form.dtype)
    return {form.name: array.reshape((rows, *form.shape[1:]))}
