"""Joining the tensors of many requests along axis 0, and handing back each caller's own rows.

Only what surely can be joined is: the same names, the same dtypes, the same shape after axis 0, and one length
along axis 0 within a request. Everything else runs alone, and a request that runs alone is passed through as it
is: nothing is copied and nothing is asked of its outputs.

numpy is imported by the first request that needs joining, because the scorer must start without it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from penstock_scorer.batching.flat import Flat, join
from penstock_scorer.batching.outcome import WrongLengthError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Tensors = Mapping[str, "NDArray[Any]"]


class Together:
    """The outputs of one call for many requests."""

    __slots__ = ("arrays", "written")

    def __init__(self, arrays: dict[str, NDArray[Any]]) -> None:
        self.arrays = arrays
        self.written: Any = None
        """What their writer keeps, so that it need not look at them once for each request; None: nothing yet."""


class Share(Mapping[str, "NDArray[Any]"]):
    """One request's own rows, from ``start`` to before ``stop``, of the outputs of a call."""

    __slots__ = ("start", "stop", "together")

    def __init__(self, together: Together, start: int, stop: int) -> None:
        self.together = together
        self.start = start
        self.stop = stop

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.together.arrays[name][self.start : self.stop]

    def __iter__(self) -> Iterator[str]:
        return iter(self.together.arrays)

    def __len__(self) -> int:
        return len(self.together.arrays)


def merge_key(inputs: Tensors) -> Hashable | None:
    """What requests must have in common to share a call; None: this one shares with nobody."""
    if type(inputs) is Flat:
        return inputs.form.key
    if not inputs:
        return None
    rows = _rows(inputs)
    if rows is None:
        return None
    return tuple(sorted((name, array.dtype.str, array.shape[1:]) for name, array in inputs.items()))


def joined(infer: Callable[[dict[str, Any]], Any]) -> Callable[[list[Tensors]], list[Any]]:
    """``infer`` as a function of a list of requests that share a :func:`merge_key`.

    The results are what ``infer`` returned for a request alone, and a :class:`Share` for each of many. It raises
    :class:`WrongLengthError` when an output of a joined call does not have as many rows as all its inputs together:
    then nobody knows whose rows they are.
    """

    def call(requests: list[Tensors]) -> list[Any]:
        if len(requests) == 1:
            return [infer(dict(requests[0]))]
        rows = [_rows(request) or 0 for request in requests]
        return _split(infer(_together(requests, sum(rows))), rows)

    return call


def _together(requests: list[Tensors], rows: int) -> dict[str, NDArray[Any]]:
    flat = [request for request in requests if type(request) is Flat]
    if len(flat) == len(requests):
        return join(flat, rows)
    import numpy as np  # noqa: PLC0415

    return {name: np.concatenate([request[name] for request in requests]) for name in requests[0]}


def _split(outputs: Any, rows: list[int]) -> list[Share]:
    if not isinstance(outputs, Mapping):
        raise WrongLengthError(f"infer() returned a {type(outputs).__name__}, not a dict of arrays.")
    import numpy as np  # noqa: PLC0415

    total = sum(rows)
    together = Together({name: np.asarray(value) for name, value in outputs.items()})
    for name, array in together.arrays.items():
        if array.ndim == 0 or array.shape[0] != total:
            raise WrongLengthError(
                f"infer() got {total} rows from {len(rows)} requests and returned {name!r} with shape {array.shape}: "
                "axis 0 must be the same. Mark it @batched(max_size=1) if its outputs are not one row for each input."
            )
    shares = []
    start = 0
    for count in rows:
        shares.append(Share(together, start, start + count))
        start += count
    return shares


def _rows(inputs: Tensors) -> int | None:
    """The length along axis 0 that all inputs share; None where there is none."""
    if type(inputs) is Flat:
        return inputs.form.shape[0]
    found = {array.shape[0] if array.ndim else -1 for array in inputs.values()}
    return found.pop() if len(found) == 1 and -1 not in found else None
