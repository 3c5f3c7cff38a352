"""JSON values as columns hold them, and the checks that a type asks for."""

from __future__ import annotations

import base64
import binascii
import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np

from services.devstore.errors import DevstoreError
from services.devstore.schema import Attribute

__all__ = ["column_value", "decode_vector", "encode_vector", "shown", "stored_value"]

_MAX_ID_BYTES: Final = 64
_MAX_FILTERABLE_BYTES: Final = 4096
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def stored_value(attribute: Attribute, value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """A value that is to be kept, as its column holds it.

    Raises:
        DevstoreError: 400, it is not of the attribute's type, or too large.
    """
    if value is None:
        return None
    held = column_value(attribute, value)
    if attribute.element == "string" and attribute.filterable:
        limit = _MAX_ID_BYTES if attribute.name == "id" else _MAX_FILTERABLE_BYTES
        for text in held if attribute.is_array else (held,):
            if len(text) * 4 > limit and len(text.encode()) > limit:
                raise DevstoreError.bad_request(
                    f"a value of attribute {attribute.name!r} is longer than {limit} bytes"
                )
    return held


def column_value(attribute: Attribute, value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """A value as its column holds it.

    Raises:
        DevstoreError: 400, it is not of the attribute's type.
    """
    if value is None:
        return None
    if attribute.vector_dimensions is not None:
        return _vector(attribute, value)
    if attribute.is_array:
        if not isinstance(value, list):
            raise _mismatch(attribute, value)
        return [_scalar(attribute, element) for element in value]
    return _scalar(attribute, value)


def _vector(attribute: Attribute, value: object) -> list[float]:
    """The numbers that the vector's width can hold."""
    numbers = decode_vector(attribute.name, value) if isinstance(value, str) else value
    dimensions = attribute.vector_dimensions
    if not isinstance(numbers, list) or len(numbers) != dimensions:
        raise DevstoreError.bad_request(f"attribute {attribute.name!r} has {dimensions} dimensions")
    if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in numbers):
        raise _mismatch(attribute, value)
    with np.errstate(over="ignore", invalid="ignore"):
        held = np.asarray(numbers, dtype=np.float64).astype(attribute.vector_format)
    if not np.isfinite(held.astype(np.float64)).all():
        raise _mismatch(attribute, value)
    if held.dtype.kind == "i" and held.tolist() != numbers:
        raise _mismatch(attribute, value)
    return [float(x) for x in held]


def _scalar(attribute: Attribute, value: Any) -> Any:  # noqa: ANN401 - any JSON value
    kind = attribute.element
    if kind == "string" and isinstance(value, str):
        return value
    if kind == "bytes" and isinstance(value, str):
        return _bytes(attribute, value)
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind == "uuid" and isinstance(value, str):
        return _uuid(attribute, value)
    if kind == "datetime" and isinstance(value, str | int) and not isinstance(value, bool):
        return _datetime(attribute, value)
    if kind in ("int", "uint", "float") and isinstance(value, int | float):
        return _number(attribute, value)
    raise _mismatch(attribute, value)


def _bytes(attribute: Attribute, value: str) -> str:
    try:
        return base64.b64encode(base64.b64decode(value, validate=True)).decode()
    except ValueError:
        raise _mismatch(attribute, value) from None


def _uuid(attribute: Attribute, value: str) -> str:
    try:
        return str(uuid.UUID(value))
    except ValueError:
        raise _mismatch(attribute, value) from None


def _number(attribute: Attribute, value: float) -> float:
    kind = attribute.element
    if isinstance(value, bool):
        raise _mismatch(attribute, value)
    try:
        if kind == "float":
            return float(value)
        low, high = (0, 2**64) if kind == "uint" else (-(2**63), 2**63)
        if value == int(value) and low <= value < high:
            return int(value)
    except OverflowError:
        pass
    raise _mismatch(attribute, value)


def _datetime(attribute: Attribute, value: str | int) -> str:
    """RFC 3339 with nine digits, which also sorts as text."""
    try:
        if isinstance(value, int):
            # Exact, which a division by 1000 is not.
            moment = _EPOCH + timedelta(milliseconds=value)
        else:
            moment = datetime.fromisoformat(value)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise _mismatch(attribute, value) from None
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds") + "000Z"


def decode_vector(name: str, text: str) -> list[float]:
    """Base64 of little-endian 32-bit floats, as the SDKs send vectors.

    Raises:
        DevstoreError: 400.
    """
    try:
        return [float(x) for x in np.frombuffer(base64.b64decode(text, validate=True), "<f4")]
    except (binascii.Error, ValueError):
        raise DevstoreError.bad_request(f"attribute {name!r} is not a base64 vector") from None


def encode_vector(attribute: Attribute, numbers: Any) -> str:  # noqa: ANN401 - a column's value
    """Base64 of little-endian elements of the attribute's own width."""
    return base64.b64encode(np.asarray(numbers, dtype=attribute.vector_format).tobytes()).decode()


def shown(value: object) -> str:
    """A JSON value as messages quote it: its beginning, where it is long."""
    # Not by msgspec, which reads integers of more than 64 bits but does not write them.
    return json.dumps(value, ensure_ascii=False)[:80]


def _mismatch(attribute: Attribute, value: object) -> DevstoreError:
    return DevstoreError.bad_request(
        f"type mismatch in attribute {attribute.name!r}: expected {attribute.type}, "
        f"got {shown(value)}"
    )
