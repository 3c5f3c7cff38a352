"""The types of attributes that nobody declared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from services.devstore.errors import DevstoreError
from services.devstore.values import decode_vector

__all__ = ["infer_types"]


def infer_types(known: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """A type for each attribute of the rows that is not known, by its first value.

    Raises:
        DevstoreError: 400, no type can be inferred.
    """
    found = dict.fromkeys(known, "")
    for row in rows:
        for name, value in row.items():
            if value is not None and name not in found:
                found[name] = _type(name, value)
    return {name: type_name for name, type_name in found.items() if type_name}


def _type(name: str, value: object) -> str:
    """uint (but for ids), uuid, datetime and bytes have to be declared: a text that looks like a
    UUID is a string."""
    if name == "id":
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise DevstoreError.bad_request("ids are unsigned integers, UUIDs or strings")
        return "string" if isinstance(value, str) else "uint"
    if name == "vector":
        numbers = decode_vector(name, value) if isinstance(value, str) else value
        if not isinstance(numbers, list):
            raise DevstoreError.bad_request("attribute 'vector' is not a vector")
        return f"[{len(numbers)}]f32"
    if isinstance(value, list):
        return f"[]{_scalar(name, value[0])}" if value else "[]string"
    return _scalar(name, value)


def _scalar(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    for python_type, type_name in ((int, "int"), (float, "float"), (str, "string")):
        if isinstance(value, python_type):
            return type_name
    raise DevstoreError.bad_request(f"cannot infer the type of attribute {name!r}")
