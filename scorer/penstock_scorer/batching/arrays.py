"""Joining the tensors of many requests along axis 0, and handing back each caller's own rows.

Only what surely can be joined is: the same names, the same dtypes, the same shape after axis 0, and one length
along axis 0 within a request. Everything else runs alone, and a request that runs alone is passed through as it
is: nothing is copied and nothing is asked of its outputs.

numpy is imported by the first request that needs joining, because the scorer must start without it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import TYPE_CHECKING, Any

from penstock_scorer.batching.outcome import WrongLengthError

if TYPE_CHECKING:
    from numpy.typing import NDArray

Tensors = Mapping[str, "NDArray[Any]"]


def merge_key(inputs: Tensors) -> Hashable | None:
    """What requests must have in common to share a call; None: this one shares with nobody."""
    if not inputs:
        return None
    rows = _rows(inputs)
    if rows is None:
        return None
    return tuple(sorted((name, array.dtype.str, array.shape[1:]) for name, array in inputs.items()))


def joined(infer: Callable[[dict[str, Any]], Any]) -> Callable[[list[Tensors]], list[Any]]:
    """``infer`` as a function of a list of requests that share a :func:`merge_key`.

    The result raises :class:`WrongLengthError` when an output of a joined call does not have as many rows as all its
    inputs together: then nobody knows whose rows they are.
    """

    def call(requests: list[Tensors]) -> list[Any]:
        if len(requests) == 1:
            return [infer(dict(requests[0]))]
        import numpy as np  # noqa: PLC0415

        together = {name: np.concatenate([request[name] for request in requests]) for name in requests[0]}
        return _split(infer(together), [_rows(request) or 0 for request in requests])

    return call


def _split(outputs: Any, rows: list[int]) -> list[dict[str, Any]]:
    if not isinstance(outputs, Mapping):
        raise WrongLengthError(f"infer() returned a {type(outputs).__name__}, not a dict of arrays.")
    import numpy as np  # noqa: PLC0415

    total = sum(rows)
    parts: list[dict[str, Any]] = [{} for _ in rows]
    for name, value in outputs.items():
        array = np.asarray(value)
        if array.ndim == 0 or array.shape[0] != total:
            raise WrongLengthError(
                f"infer() got {total} rows from {len(rows)} requests and returned {name!r} with shape {array.shape}: "
                "axis 0 must be the same. Mark it @batched(max_size=1) if its outputs are not one row for each input."
            )
        start = 0
        for part, count in zip(parts, rows, strict=True):
            part[name] = array[start : start + count]
            start += count
    return parts


def _rows(inputs: Tensors) -> int | None:
    """The length along axis 0 that all inputs share; None where there is none."""
    found = {array.shape[0] if array.ndim else -1 for array in inputs.values()}
    return found.pop() if len(found) == 1 and -1 not in found else None
