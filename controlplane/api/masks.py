"""Field masks: the present state with the masked fields of a request laid over it.

Unlike ``FieldMask.MergeMessage`` this clears a field that the mask names and the request leaves out, so that it gets
its default, and it says which paths there are when one is unknown. Maps and lists are replaced as a whole.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection
from typing import Any, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from controlplane.domain.errors import InvalidArgumentError, Violation

M = TypeVar("M", bound=Message)


def merged(present: M, request: M, mask: FieldMask, fields: Collection[str]) -> M:
    """A copy of ``present`` with the fields that ``mask`` names taken from ``request``.

    Args:
        present: the resource as it is.
        request: the resource as it was sent.
        mask: paths; ``*`` or none at all means all of ``fields``.
        fields: top-level fields that can be changed.

    Raises:
        InvalidArgumentError: a path names nothing, or something that cannot be changed.
    """
    paths = list(mask.paths)
    if not paths or "*" in paths:
        paths = list(fields)
    violations = [_unknown(path, fields) for path in paths if not _exists(present, path, fields)]
    if violations:
        raise InvalidArgumentError(*violations)
    result = type(present)()
    result.CopyFrom(present)
    for path in paths:
        _lay(result, request, path.split("."))
    return result


def _lay(target: Any, source: Any, path: list[str]) -> None:
    name = path[0]
    if len(path) > 1:
        _lay(getattr(target, name), getattr(source, name), path[1:])
        getattr(target, name).SetInParent()
        return
    target.ClearField(name)
    only = type(source)()
    only.CopyFrom(source)
    for field, _ in source.ListFields():
        if field.name != name:
            only.ClearField(field.name)
    target.MergeFrom(only)


def _exists(message: Message, path: str, fields: Collection[str]) -> bool:
    first, *rest = path.split(".")
    if first not in fields:
        return False
    descriptor = message.DESCRIPTOR.fields_by_name[first]
    for name in rest:
        holder = descriptor.message_type
        if holder is None or holder.GetOptions().map_entry or name not in holder.fields_by_name:
            return False
        descriptor = holder.fields_by_name[name]
    return True


def _unknown(path: str, fields: Collection[str]) -> Violation:
    near = difflib.get_close_matches(path, fields, n=1)
    meant = f" (did you mean '{near[0]}'?)" if near else ""
    return Violation("update_mask", f"'{path}' cannot be changed{meant}; what can: {', '.join(fields)}")
