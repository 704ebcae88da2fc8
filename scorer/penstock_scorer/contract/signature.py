"""How ``run`` wants to be called, found out once when the script is loaded."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from penstock_scorer.batching.policy import BatchPolicy, policy_of
from penstock_scorer.contract.flask_context import in_flask_context
from penstock_scorer.contract.inputs import InputMode, Parameter
from penstock_scorer.errors import BadSignatureError

if TYPE_CHECKING:
    from collections.abc import Callable

HEADERS_PARAMETER = "request_headers"
INFER_EXTRAS = ("parameters", HEADERS_PARAMETER)
"""What ``infer`` may take beside the tensors."""


@dataclass(frozen=True)
class RunSignature:
    """What to call, with what."""

    call: Callable[..., Any]
    mode: InputMode
    parameters: tuple[Parameter, ...]
    """Without ``request_headers``; at least one."""
    wants_headers: bool
    notes: tuple[str, ...] = field(default=())
    """Sentences for the log, about what was found or forgiven."""
    awaited: bool = False
    """Whether ``run`` is ``async``."""
    batch: BatchPolicy | None = None
    """How it may be merged, where it is marked ``@batched``."""


def analyse(run: Callable[..., Any], *, raw: bool) -> RunSignature:
    """Read the signature of ``run``.

    Args:
        run: The function, decorated or not.
        raw: Whether the script used ``@rawhttp``.

    Raises:
        BadSignatureError: positional-only parameters, ``*args``, ``**kwargs``, no data parameter, or both
            ``@rawhttp`` and ``@input_schema``; ``@batched`` with either, or on an ``async def run``.
    """
    signature = _analyse(run, raw=raw)
    awaited = inspect.iscoroutinefunction(run) or inspect.isasyncgenfunction(run)
    batch = policy_of(run)
    if batch is not None and signature.mode is not InputMode.TEXT:
        raise BadSignatureError("A @batched run() cannot be decorated with @rawhttp or @input_schema.")
    if batch is not None and awaited:
        raise BadSignatureError("A @batched run() cannot be async: batches are formed before it, not inside.")
    return replace(signature, awaited=awaited, batch=batch)


def _analyse(run: Callable[..., Any], *, raw: bool) -> RunSignature:
    found = list(inspect.signature(run).parameters.values())
    if any(p.kind not in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD) for p in found):
        raise BadSignatureError("run() cannot accept positional-only arguments, *args, or **kwargs.")
    wants_headers = any(p.name == HEADERS_PARAMETER for p in found)
    parameters = tuple(
        Parameter(p.name) if p.default is p.empty else Parameter(p.name, required=False, default=p.default)
        for p in found
        if p.name != HEADERS_PARAMETER
    )
    if not parameters and wants_headers:
        raise BadSignatureError(f'run() needs to accept an argument other than "{HEADERS_PARAMETER}".')
    if not parameters:
        raise BadSignatureError("run() needs to accept an argument for input data.")
    schema_names = _schema_names(run)
    if schema_names is not None and raw:
        raise BadSignatureError("run() cannot be decorated with both @rawhttp and @input_schema")
    if raw:
        return RunSignature(in_flask_context(run, parameters[0].name), InputMode.RAW, parameters, wants_headers)
    if schema_names is None:
        return RunSignature(run, InputMode.TEXT, parameters, wants_headers)
    return _object_signature(run, parameters, schema_names, wants_headers=wants_headers)


def check_infer(infer: Callable[..., Any]) -> None:
    """That ``infer`` can be called with the tensors, and with nothing but what it may ask for.

    Raises:
        BadSignatureError: it has no parameter for them, or one that nobody gives.
    """
    parameters = list(inspect.signature(infer).parameters.values())
    kinds = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if not parameters or any(parameter.kind not in kinds for parameter in parameters):
        raise BadSignatureError("infer() needs one parameter for the tensors, and no *args or positional-only ones.")
    for parameter in parameters[1:]:
        if parameter.name not in INFER_EXTRAS and parameter.default is parameter.empty:
            raise BadSignatureError(f"infer() has a parameter {parameter.name!r} that nothing is given for.")


def infer_extras(infer: Callable[..., Any]) -> set[str]:
    """What ``infer`` takes beside the tensors."""
    return set(INFER_EXTRAS) & set(list(inspect.signature(infer).parameters)[1:])


def _object_signature(
    run: Callable[..., Any], parameters: tuple[Parameter, ...], schema_names: set[str], *, wants_headers: bool
) -> RunSignature:
    unknown = schema_names - {p.name for p in parameters}
    if len(unknown) == 1 and len(schema_names) == 1 and len(parameters) == 1:
        # A published sample decorates 'data' over run(raw_data): the client's name wins.
        (schema_name,), parameter = unknown, parameters[0]
        _rename_keyword(run, schema_name, parameter.name)
        note = f"@input_schema names {schema_name!r} where run() has {parameter.name!r}: taken as the same parameter."
        renamed = (Parameter(schema_name, parameter.required, parameter.default),)
        return RunSignature(run, InputMode.OBJECT, renamed, wants_headers, (note,))
    return RunSignature(run, InputMode.OBJECT, parameters, wants_headers)


def _schema_names(run: Callable[..., Any]) -> set[str] | None:
    """Parameters with an input schema; None when ``run`` has no schema decorator at all."""
    if "inference_schema" not in sys.modules:
        return None
    schema_util = importlib.import_module("inference_schema.schema_util")
    if not schema_util.is_schema_decorated(run):
        return None
    properties = schema_util.get_input_schema(run).get("properties", {})
    return {name for name, schema in properties.items() if schema}


def _rename_keyword(run: Callable[..., Any], outside: str, inside: str) -> None:
    """Make the innermost decorator hand the argument ``outside`` to the function's parameter ``inside``."""
    wrapper: Any = run
    while hasattr(wrapper.__wrapped__, "__wrapped__"):
        wrapper = wrapper.__wrapped__
    wrapper.__wrapped__ = _Renamed(wrapper.__wrapped__, outside, inside)


class _Renamed:
    """Calls a function with one keyword renamed.

    Not a closure: inference-schema finds the function it registered by following closures to their last cell.
    """

    def __init__(self, function: Callable[..., Any], outside: str, inside: str) -> None:
        functools.update_wrapper(self, function)
        del self.__dict__["__wrapped__"]
        self._function, self._outside, self._inside = function, outside, inside

    def __call__(self, **arguments: Any) -> Any:
        arguments[self._inside] = arguments.pop(self._outside)
        return self._function(**arguments)
