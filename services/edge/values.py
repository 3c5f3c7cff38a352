"""JSON values in protobuf: `google.protobuf.Value` and `Struct` hold doubles only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from google.protobuf import struct_pb2, timestamp_pb2

from services.core.errors import LayerError

__all__ = ["MAX_DEPTH", "SAFE_INTEGER", "from_value", "timestamp", "to_struct"]

SAFE_INTEGER: Final = 2**53
"""The largest integer below which a double holds every integer."""

MAX_DEPTH: Final = 40
"""Nesting of a value in a request. Protobuf itself reads messages 100 deep; a list is two."""


def from_value(value: struct_pb2.Value, what: str) -> object | None:
    """The JSON value; whole numbers become integers again. None for null and for an unset value.

    Raises:
        LayerError: VALIDATION, it nests too deep, or holds an integer that a double may have
            rounded: counting with another number than the caller's would be silently wrong.
    """
    return _from_value(value, what, 0)


def _from_value(value: struct_pb2.Value, what: str, depth: int) -> object | None:
    if depth > MAX_DEPTH:
        raise LayerError.validation(f"{what} nests deeper than {MAX_DEPTH}")
    kind = value.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    if kind == "number_value":
        return _number(value.number_value, what)
    if kind == "list_value":
        return [_from_value(element, what, depth + 1) for element in value.list_value.values]
    if kind == "struct_value":
        fields = value.struct_value.fields
        return {name: _from_value(fields[name], what, depth + 1) for name in fields}
    return value.string_value if kind == "string_value" else value.bool_value


def _number(number: float, what: str) -> int | float:
    if not math.isfinite(number):
        raise LayerError.validation(f"{what} holds a number that is not finite")
    if not number.is_integer():
        return number
    if abs(number) > SAFE_INTEGER:
        raise LayerError.validation(f"{what} holds an integer beyond 2^53, which JSON rounds")
    return int(number)


def to_struct(values: Mapping[str, Any]) -> struct_pb2.Struct:
    """A JSON object as a Struct; integers beyond 2^53 become strings, as in protobuf's own JSON
    form of 64-bit integers."""
    struct = struct_pb2.Struct()
    for name, value in values.items():
        _fill(struct.fields[name], value)
    return struct


def _fill(target: struct_pb2.Value, value: Any) -> None:  # noqa: ANN401 - any JSON value
    if value is None:
        target.null_value = struct_pb2.NULL_VALUE
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int):
        if abs(value) > SAFE_INTEGER:
            target.string_value = str(value)
        else:
            target.number_value = value
    elif isinstance(value, float):
        target.number_value = value
    elif isinstance(value, str):
        target.string_value = value
    elif isinstance(value, Mapping):
        # An empty object must still be an object.
        target.struct_value.SetInParent()
        for name, element in value.items():
            _fill(target.struct_value.fields[name], element)
    elif isinstance(value, Sequence):
        target.list_value.SetInParent()
        for element in value:
            _fill(target.list_value.values.add(), element)
    else:
        raise TypeError(f"{type(value).__name__} is not a JSON value")


def timestamp(epoch_ms: int) -> timestamp_pb2.Timestamp:
    """Epoch milliseconds as a Timestamp, which JSON shows as RFC 3339."""
    message = timestamp_pb2.Timestamp()
    message.FromMilliseconds(epoch_ms)
    return message
