"""Attribute types: declared or inferred, and the DuckDB columns that hold them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from services.devstore.errors import DevstoreError
from services.devstore.text_options import TextOptions, text_options

__all__ = ["Attribute", "Schema", "merge_schema"]

_MAX_ATTRIBUTES: Final = 1024
_MAX_NAME_BYTES: Final = 128
_VECTOR = re.compile(r"\[([1-9][0-9]{0,4})\](f32|f16|i8)")
_MAX_DIMENSIONS: Final = 10_752
_FORMATS: Final = {"f32": "<f4", "f16": "<f2", "i8": "i1"}
_ID_TYPES: Final = ("uint", "uuid", "string")
_OPTIONS: Final = frozenset({"type", "filterable", "full_text_search", "ann"})
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


@dataclass(frozen=True)
class Attribute:
    """One attribute: its Turbopuffer type and the column that holds it."""

    name: str
    type: str
    column: str
    full_text: TextOptions | None = None
    filterable: bool = True

    @cached_property
    def vector_dimensions(self) -> int | None:
        match = _VECTOR.fullmatch(self.type)
        return int(match[1]) if match else None

    @cached_property
    def vector_format(self) -> str:
        """A vector element as numpy names it, little-endian."""
        return _FORMATS[self.type.partition("]")[2]]

    @cached_property
    def vector_element_bytes(self) -> int:
        return int(self.vector_format[-1])

    @cached_property
    def is_array(self) -> bool:
        return self.type.startswith("[]")

    @cached_property
    def element(self) -> str:
        """The type of the value, or of an array's elements."""
        return self.type.removeprefix("[]")

    @cached_property
    def sql_type(self) -> str:
        dimensions = self.vector_dimensions
        if dimensions is not None:
            return f"FLOAT[{dimensions}]"
        return self.element_sql_type + ("[]" if self.is_array else "")

    @cached_property
    def element_sql_type(self) -> str:
        """The column's type, or the type of its elements; not for vectors."""
        return _SQL[self.element]

    @cached_property
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

    def get(self, name: str) -> Attribute:
        """An attribute.

        Raises:
            DevstoreError: 400, there is none of that name.
        """
        try:
            return self.attributes[name]
        except (KeyError, TypeError):
            raise DevstoreError.bad_request(
                f"invalid query: attribute not found: {name!r}"
            ) from None

    @property
    def identity(self) -> Attribute:
        """The attribute `id`."""
        return self.attributes["id"]

    def describe(self) -> dict[str, Any]:
        """As the metadata route shows it: what does not apply is left out."""
        described: dict[str, Any] = {}
        for name, attribute in self.attributes.items():
            entry: dict[str, Any] = {"type": attribute.type}
            if attribute.vector_dimensions is not None:
                entry["ann"] = {"distance_metric": self.distance_metric}
            elif name != "id":
                entry["filterable"] = attribute.filterable
            if attribute.full_text:
                entry["full_text_search"] = attribute.full_text.describe()
            described[name] = entry
        return described

    def describe_in_full(self) -> dict[str, Any]:
        """As the schema route shows it: with nulls."""
        described = self.describe()
        for entry in described.values():
            entry.setdefault("filterable", None)
            entry.setdefault("full_text_search", None)
            if "ann" in entry:
                entry["ann"] = True
        return described


def merge_schema(schema: Schema, declared: Mapping[str, Any]) -> Schema:
    """The schema with declarations added.

    Raises:
        DevstoreError: 400, an unknown type, option or name, or a type that would change.
    """
    attributes = dict(schema.attributes)
    for name, entry in declared.items():
        _check_name(name)
        options = {"type": entry} if isinstance(entry, str) else entry
        if not isinstance(options, Mapping):
            raise DevstoreError.unreadable(f"schema of {name!r}: expected a type or a map")
        unknown = sorted(key for key in set(options) - _OPTIONS if options[key])
        if unknown:
            raise DevstoreError.unsupported(f"option {unknown[0]!r}, which {name!r} asks for")
        base = _typed(attributes, name, options.get("type"))
        attributes[name] = _with_options(base, options, is_new=name not in attributes)
    if len(attributes) > _MAX_ATTRIBUTES:
        raise DevstoreError.bad_request(f"a namespace has at most {_MAX_ATTRIBUTES} attributes")
    return replace(schema, attributes=attributes)


def _check_name(name: str) -> None:
    if not name or name.startswith("$") or len(name.encode()) > _MAX_NAME_BYTES:
        raise DevstoreError.bad_request(
            f"invalid attribute name {name[:_MAX_NAME_BYTES]!r}: "
            f"1 to {_MAX_NAME_BYTES} bytes, not starting with $"
        )


def _typed(attributes: Mapping[str, Attribute], name: str, type_name: object) -> Attribute:
    """The attribute as it is, or a new one of that type in a column of its own."""
    known = attributes.get(name)
    if known is not None and type_name in (None, known.type):
        return known
    if isinstance(type_name, str) and type_name.startswith(("{}", "[][")):
        raise DevstoreError.unsupported(f"type {type_name!r}, which {name!r} asks for")
    if not isinstance(type_name, str) or not _is_type(type_name):
        raise DevstoreError.bad_request(f"invalid type for attribute {name!r}: {type_name!r}")
    if known is not None:
        raise DevstoreError.bad_request(
            f"cannot change the type of attribute {name!r} from {known.type} to {type_name}"
        )
    if name == "id" and type_name not in _ID_TYPES:
        raise DevstoreError.bad_request(f"ids are of type {', '.join(_ID_TYPES)}")
    return Attribute(name, type_name, f"c{len(attributes)}")


def _with_options(base: Attribute, options: Mapping[str, Any], *, is_new: bool) -> Attribute:
    """Filterable unless it is for full-text search, a vector or bytes, or told otherwise."""
    text = base.full_text
    if "full_text_search" in options:
        text = text_options(base.name, base.type, options["full_text_search"])
    can_filter = base.vector_dimensions is None and base.element != "bytes"
    filterable = options.get("filterable")
    if filterable is None:
        filterable = (can_filter and not text) if is_new else base.filterable
    elif not isinstance(filterable, bool):
        raise DevstoreError.unreadable("filterable: expected a boolean")
    elif filterable and not can_filter:
        raise DevstoreError.bad_request(f"attribute {base.name!r} cannot be filterable")
    return replace(base, full_text=text, filterable=filterable or base.name == "id")


def _is_type(text: str) -> bool:
    vector = _VECTOR.fullmatch(text)
    if vector:
        return int(vector[1]) <= _MAX_DIMENSIONS
    return text != "[]bytes" and text.removeprefix("[]") in _SQL
