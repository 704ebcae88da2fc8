"""One call for many inputs: whose answer is whose, whatever goes wrong inside.

Rules, each held by a property test:
- outcome *i* belongs to input *i*, always;
- a call that raises is tried again in halves, so that the input at fault fails alone (a batch of 16 with one bad
  input costs 9 calls, not 16);
- a result of the wrong length is nobody's: every input of that call fails, none is guessed at;
- what is known is delivered at once, so that a later input that hangs takes no answer with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


class WrongLengthError(Exception):
    """A batched function returned another number of results than it got inputs, or no sequence at all."""


@dataclass(frozen=True)
class Answer:
    """The script's result for one input."""

    value: Any


@dataclass(frozen=True)
class Fault:
    """Why one input has no result: what the script raised, returned in its place, or a wrong length."""

    error: Exception


Outcome = Answer | Fault


def call_batch(
    call: Callable[[list[Any]], Any],
    inputs: Sequence[Any],
    deliver: Callable[[int, Outcome], None],
    passing: tuple[type[Exception], ...] = (),
) -> None:
    """Call ``call`` with all ``inputs`` and deliver one outcome for each.

    Args:
        call: Takes a list, returns as many results in the same order.
        inputs: At least one.
        deliver: Called exactly once for each index of ``inputs``, unless an exception passes.
        passing: Exceptions that end everything (a timeout) instead of failing an input. What is no
            ``Exception`` always does.
    """
    # Depth first, left first: outcomes come in order.
    spans = [(0, len(inputs))]
    while spans:
        start, end = spans.pop()
        try:
            results = call(list(inputs[start:end]))
        except passing:
            raise
        except Exception as error:  # noqa: BLE001 - a user's code raises what it likes
            if end - start == 1:
                deliver(start, Fault(error))
            else:
                middle = (start + end) // 2
                spans += [(middle, end), (start, middle)]
            continue
        problem = _wrong_length(results, end - start)
        for index in range(start, end):
            if problem is not None:
                deliver(index, Fault(problem))
                continue
            result = results[index - start]
            deliver(index, Fault(result) if isinstance(result, Exception) else Answer(result))


def _wrong_length(results: Any, expected: int) -> WrongLengthError | None:
    try:
        # A dict or a text has a length and would be indexed by something else than position.
        found = None if isinstance(results, (dict, str, bytes, set)) else len(results)
    except TypeError:
        found = None
    if found == expected:
        return None
    what = f"a {type(results).__name__}" if found is None else f"{found} result(s)"
    return WrongLengthError(
        f"A batched function got {expected} input(s) and returned {what}: it must return a list with one result "
        "for each input, in the same order."
    )
