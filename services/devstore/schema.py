"""Attribute types: declared or inferred, and the DuckDB columns that hold them."""

from __future__ import annotations

import base64
import binascii
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import numpy as np

from services.devstore.errors import DevstoreError

__all__ = ["Attribute", "Schema", "column_value", "infer_type", "merge_schema"]

_VECTOR = re.compile(r"\[([1-9][0-9]{0,4})\](f32|f16|i8)")
_SQL: Final[Mapping[str, str]] = {
    "string": "VARCHAR",
    "int": "BIGINT",
    "uint": "UBIGINT",
    "float": "DOUBLE",
    "bool": "BOOLEAN",
    "uuid": "VARCHAR",
    "datetime": "VARCHAR",
    "bytes": "VARCHAR",
}
_FULL_TEXT: Final[Mapping[str, Any]] = {
    "tokenizer": "word_v2",
    "case_sensitive": False,
    "language": "english",
    "stemming": False,
    "remove_stopwords": False,
    "ascii_folding": False,
    "max_token_length": 39,
    "k1": 1.2,
    "b": 0.75,
    "k3": 8.0,
}


@dataclass(frozen=True)
class Attribute:
    """One attribute: its Turbopuffer type and the column that holds it."""

    name: str
    type: str
    column: str
    full_text: bool = False
    filterable: bool = True

    @property
    def vector_dimensions(self) -> int | None:
        match = _VECTOR.fullmatch(self.type)
        return int(match[1]) if match else None

    @property
    def is_array(self) -> bool:
        return self.type.startswith("[]")

    @property
    def element(self) -> str:
        """The type of the value, or of an array's elements."""
        return self.type.removeprefix("[]")

    @property
    def sql_type(self) -> str:
        dimensions = self.vector_dimensions
        if dimensions is not None:
            return f"FLOAT[{dimensions}]"
        return _SQL[self.element] + ("[]" if self.is_array else "")

    @property
    def json_structure(self) -> object:
        """How DuckDB's JSON reader is told of the type."""
        if self.vector_dimensions is not None:
            return ["FLOAT"]
        return [_SQL[self.element]] if self.is_array else _SQL[self.element]


@dataclass(frozen=True)
class Schema:
    """All attributes of a namespace; `id` is one of them."""

    attributes: Mapping[str, Attribute]
    distance_metric: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    def get(self, name: str) -> Attribute:
        """An attribute.

        Raises:
            DevstoreError: 400, there is none of that name.
        """
        try:
            return self.attributes[name]
        except KeyError:
            raise DevstoreError.bad_request(
                f"invalid query: attribute not found: {name!r}"
            ) from None

    def describe(self) -> dict[str, Any]:
        """As the metadata route shows it."""
        described: dict[str, Any] = {}
        for name, attribute in self.attributes.items():
            entry: dict[str, Any] = {"type": attribute.type}
            if attribute.vector_dimensions is not None:
                entry["ann"] = {"distance_metric": self.distance_metric}
            elif name != "id":
                entry["filterable"] = attribute.filterable
            if attribute.full_text:
                entry["full_text_search"] = dict(_FULL_TEXT)
            described[name] = entry
        return described


def infer_type(name: str, value: object) -> str:
    """The type of an undeclared attribute by its first value.

    Raises:
        DevstoreError: 400, no type can be inferred.
    """
    if name == "id":
        return _infer_id(value)
    if isinstance(value, list):
        if name == "vector":
            return f"[{len(value)}]f32"
        if not value:
            return "[]string"
        return f"[]{_infer_scalar(name, value[0])}"
    if name == "vector" and isinstance(value, str):
        return f"[{len(_decode_vector(name, value))}]f32"
    return _infer_scalar(name, value)


def _infer_id(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return "uint"
    if not isinstance(value, str):
        raise DevstoreError.bad_request("ids are unsigned integers, UUIDs or strings")
    try:
        return "uuid" if str(uuid.UUID(value)) == value.lower() else "string"
    except ValueError:
        return "string"


def _infer_scalar(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    for python_type, type_name in ((int, "int"), (float, "float"), (str, "string")):
        if isinstance(value, python_type):
            return type_name
    raise DevstoreError.bad_request(f"cannot infer the type of attribute {name!r}")


def merge_schema(schema: Schema, declared: Mapping[str, Any]) -> Schema:
    """The schema with declarations added.

    Raises:
        DevstoreError: 400, an unknown type or a type that would change.
    """
    attributes = dict(schema.attributes)
    for name, entry in declared.items():
        options = {"type": entry} if isinstance(entry, str) else dict(entry)
        known = attributes.get(name)
        type_name = options.get("type") or (known.type if known else None)
        if not isinstance(type_name, str) or not _is_type(type_name):
            raise DevstoreError.bad_request(f"invalid type for attribute {name!r}: {type_name!r}")
        if known is not None and known.type != type_name:
            raise DevstoreError.bad_request(
                f"cannot change the type of attribute {name!r} from {known.type} to {type_name}"
            )
        full_text = options.get("full_text_search")
        base = known or Attribute(name, type_name, f"c{len(attributes)}")
        text = base.full_text if full_text is None else bool(full_text)
        default = base.filterable if known else not text
        filterable = options.get("filterable")
        attributes[name] = replace(
            base, full_text=text, filterable=default if filterable is None else bool(filterable)
        )
    return replace(schema, attributes=attributes)


def _is_type(text: str) -> bool:
    return bool(_VECTOR.fullmatch(text)) or text.removeprefix("[]") in _SQL


def column_value(attribute: Attribute, value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """A value as its column holds it.

    Raises:
        DevstoreError: 400, it is not of the attribute's type.
    """
    if value is None:
        return None
    dimensions = attribute.vector_dimensions
    if dimensions is not None:
        vector = _decode_vector(attribute.name, value) if isinstance(value, str) else value
        if not isinstance(vector, list) or len(vector) != dimensions:
            raise DevstoreError.bad_request(
                f"attribute {attribute.name!r} has {dimensions} dimensions"
            )
        return vector
    if attribute.is_array:
        if not isinstance(value, list):
            raise _mismatch(attribute, value)
        return [_scalar(attribute, element) for element in value if element is not None]
    return _scalar(attribute, value)


def _scalar(attribute: Attribute, value: Any) -> Any:  # noqa: ANN401 - any JSON value
    kind = attribute.element
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind in ("string", "bytes") and isinstance(value, str):
        return value
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind == "float" and is_number:
        return float(value)
    if kind in ("int", "uint") and is_number and value == int(value):
        low, high = (0, 2**64) if kind == "uint" else (-(2**63), 2**63)
        if low <= value < high:
            return int(value)
    if kind == "uuid" and isinstance(value, str):
        try:
            return str(uuid.UUID(value))
        except ValueError:
            pass
    if kind == "datetime" and isinstance(value, str | int) and not isinstance(value, bool):
        return _datetime(attribute, value)
    raise _mismatch(attribute, value)


def _datetime(attribute: Attribute, value: str | int) -> str:
    """RFC 3339 with nine digits, which also sorts as text."""
    try:
        if isinstance(value, int):
            moment = datetime.fromtimestamp(value / 1000, UTC)
        else:
            moment = datetime.fromisoformat(value)
    except (ValueError, OverflowError, OSError):
        raise _mismatch(attribute, value) from None
    moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


def _decode_vector(name: str, text: str) -> list[float]:
    """Base64 of little-endian 32-bit floats, as the SDKs send vectors."""
    try:
        return [float(x) for x in np.frombuffer(base64.b64decode(text, validate=True), "<f4")]
    except (binascii.Error, ValueError):
        raise DevstoreError.bad_request(f"attribute {name!r} is not a base64 vector") from None


def _mismatch(attribute: Attribute, value: object) -> DevstoreError:
    text = msgspec.json.encode(value).decode()[:80]
    return DevstoreError.bad_request(
        f"type mismatch in attribute {attribute.name!r}: expected {attribute.type}, got {text}"
    )
