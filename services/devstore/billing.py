"""Plausible byte counts for the billing blocks: what values weigh, nothing of indexes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from services.devstore.schema import Attribute, Schema

__all__ = ["QUERIED_BYTES", "ROW_BYTES", "answered_bytes"]

QUERIED_BYTES: Final = 256_000_000
"""The least that the service says of a query, whatever it charges."""
ROW_BYTES: Final = 64
"""A nominal row, for counters that the service takes from its files."""
_SCALAR_BYTES: Final[Mapping[str, int]] = {
    "int": 8, "uint": 8, "float": 8, "bool": 1, "uuid": 16, "datetime": 8,
}  # fmt: skip
_DISTANCE_BYTES: Final = 4


def answered_bytes(schema: Schema, body: Mapping[str, Any]) -> int:
    """Of the rows or groups of an answer, or of several."""
    if "results" in body:
        return sum(answered_bytes(schema, each) for each in body["results"])
    if "rows" in body:
        return _rows_bytes(schema, body["rows"])
    if "aggregation_groups" in body:
        return sum(8 * len(group) for group in body["aggregation_groups"])
    return 8 * len(body["aggregations"])


def _rows_bytes(schema: Schema, rows: Iterable[Mapping[str, Any]]) -> int:
    """Of ten thousand rows at a time, so the weights of attributes are looked up once."""
    fixed = {name: _fixed_bytes(attribute) for name, attribute in schema.attributes.items()}
    fixed["$dist"] = _DISTANCE_BYTES
    total = 0
    for row in rows:
        for name, value in row.items():
            size = fixed[name]
            if size is not None:
                total += size
            elif isinstance(value, str):
                total += len(value.encode())
            else:
                element = _SCALAR_BYTES.get(schema.attributes[name].element)
                total += sum(len(x.encode()) if element is None else element for x in value)
    return total


def _fixed_bytes(attribute: Attribute) -> int | None:
    """What every value weighs; None where it depends on the value."""
    if attribute.vector_dimensions is not None:
        return attribute.vector_dimensions * attribute.vector_element_bytes
    return None if attribute.is_array else _SCALAR_BYTES.get(attribute.element)
