"""The commonest requests as JSON: one small tensor of floats, with nothing asked about the answer.

A client says the same thing around its numbers in every request, so that is read and checked once (:class:`Forms`),
and later only the numbers are. Whatever is not exactly that, well-formed or not, is read by
:mod:`~penstock_scorer.inference.rest`, which finds and names every mistake: here nothing is refused.

Their answers are cut out of one text for the whole batch (:func:`write`).
"""

from __future__ import annotations

import json
from math import prod
from typing import TYPE_CHECKING, Any

from penstock_scorer.batching.arrays import merge_key
from penstock_scorer.batching.flat import Flat, Form
from penstock_scorer.contract.results import to_json
from penstock_scorer.inference.messages import InferRequest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from penstock_scorer.batching.arrays import Share, Together
    from penstock_scorer.inference.model import Model

PLAIN = InferRequest({}, {})
"""What such a request says besides its tensor."""
_MOST_ELEMENTS = 1000
"""With more, reading them is all that matters, and as lists they need four times the memory of arrays."""
_MOST_OUTPUTS = 16 * _MOST_ELEMENTS
_LONGEST = 500
"""Bytes before the numbers or behind them."""
_MOST_FORMS = 64
_FLOATS = {float}
_NUMBERS = {float, int}
_read = json.JSONDecoder().raw_decode
_quoted = json.encoder.encode_basestring_ascii


class Forms:
    """What clients have said around their numbers: at most 64 different things. Shared by all slots."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[Form, int, str] | None] = {}
        self._seen = b""

    def read(self, body: bytes) -> Flat | None:
        """The tensor of a request; None: this one must be read by itself."""
        start = _start(body)
        known = None if start < 0 else self._known.get(body[:start])
        if known is None:
            return None
        form, count, tail = known
        try:
            text = str(body, "ascii")
            values, end = _read(text, start)
            if len(values) != count or text[end:] != tail:
                return None
            kinds = set(map(type, values))
            if kinds != _FLOATS:
                if not kinds <= _NUMBERS:
                    return None
                values = list(map(float, values))
        except (ValueError, OverflowError, RecursionError):
            return None
        return Flat(form, values)

    def learn(self, body: bytes, request: InferRequest) -> None:
        """Remember what is around the numbers of a request that was read by itself and is right.

        The second time it comes, so that a client whose requests all begin differently (with an ``id``) costs nothing.
        """
        start = _start(body)
        if start < 0 or not _small(request):
            return
        head = body[:start]
        if head in self._known:
            return
        if head != self._seen:
            self._seen = head
            return
        if len(self._known) >= _MOST_FORMS:
            self._known.clear()
        self._known[head] = _learned(body, start, request)


def _start(body: bytes) -> int:
    """Where the numbers would start; -1: nowhere near the beginning."""
    key = body.find(b'"data":', 0, _LONGEST)
    return -1 if key < 0 else body.find(b"[", key, _LONGEST)


def _small(request: InferRequest) -> bool:
    (array, *more) = request.inputs.values()
    return not more and array.dtype.kind == "f" and array.ndim > 0 and 0 < array.size <= _MOST_ELEMENTS


def _learned(body: bytes, start: int, request: InferRequest) -> tuple[Form, int, str] | None:
    """The form of a small request, its number of elements, and the text after them; None: it says more than that."""
    ((name, array),) = request.inputs.items()
    said = {"name": name, "datatype": request.datatypes[name].value, "shape": list(array.shape)}
    try:
        text = str(body, "ascii")
        tail = text[_read(text, start)[1] :]
        # With another value in place of the numbers, all that is read must be the same but for that value.
        for data in (0, 1):
            if json.loads(f"{text[:start]}{data}{tail}") != {"inputs": [said | {"data": data}]}:
                return None
    except (ValueError, RecursionError):
        return None
    if len(tail) > _LONGEST:
        return None
    return Form(name, array.dtype, array.shape, merge_key(request.inputs)), array.size, tail


def write(model: Model, share: Share) -> bytes | None:
    """The answer to a request that says nothing about it; None: it must be written by itself."""
    together = share.together
    if together.written is None:
        together.written = _Written(model, together)
    written: _Written = together.written
    return written.answer(share.start, share.stop)


class _Written:
    """The outputs of a call as text, from which answers are cut."""

    def __init__(self, model: Model, together: Together) -> None:
        self._model = f'{{"model_name": {_quoted(model.name)}, "model_version": {_quoted(model.version)}, "outputs": ['
        outputs = [_output(name, array) for name, array in together.arrays.items()]
        cut = [output for output in outputs if output is not None]
        self._outputs = cut if len(cut) == len(outputs) else None

    def answer(self, start: int, stop: int) -> bytes | None:
        """That of the request whose rows these are."""
        if self._outputs is None:
            return None
        outputs = [
            f"{before}{stop - start}{after}{', '.join(elements[start * width : stop * width])}]}}"
            for before, after, elements, width in self._outputs
        ]
        return f"{self._model}{', '.join(outputs)}]}}".encode("ascii")


def _output(name: Any, array: NDArray[Any]) -> tuple[str, str, list[str], int] | None:
    """Its text before the number of rows, that after it, each element's, and how many a row has; None: not this way."""
    from penstock_scorer.inference.datatypes import Datatype, of  # noqa: PLC0415 - numpy is here: it made the array

    datatype = of(array)
    if not isinstance(name, str) or datatype in {None, Datatype.BYTES, Datatype.BF16} or array.size > _MOST_OUTPUTS:
        return None
    row = array.shape[1:]
    elements = to_json(array.reshape(-1).tolist())[1:-1].decode("ascii").split(", ")
    described = f'{{"name": {_quoted(name)}, "datatype": "{datatype.value}", "shape": ['
    return described, "".join(f", {size}" for size in row) + '], "data": [', elements, prod(row)
