"""Plausible byte counts for the billing blocks: what values weigh, nothing of indexes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from services.devstore.schema import Attribute, Schema

__all__ = ["QUERIED_BYTES", "ROW_BYTES", "answered_bytes"]

QUERIED_BYTES: Final = 1_280_000_000
"""The least that the service charges for a query."""
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
        return sum(_row_bytes(schema, row) for row in body["rows"])
    if "aggregation_groups" in body:
        return sum(8 * len(group) for group in body["aggregation_groups"])
    return 8 * len(body["aggregations"])


def _row_bytes(schema: Schema, row: Mapping[str, Any]) -> int:
    return sum(
        _DISTANCE_BYTES if name == "$dist" else _value_bytes(schema.attributes[name], value)
        for name, value in row.items()
    )


def _value_bytes(attribute: Attribute, value: Any) -> int:  # noqa: ANN401 - any JSON value
    dimensions = attribute.vector_dimensions
    if dimensions is not None:
        return dimensions * int(attribute.vector_format[-1])
    size = _SCALAR_BYTES.get(attribute.element)
    if size is not None:
        return size * len(value) if attribute.is_array else size
    if attribute.is_array:
        return sum(len(element.encode()) for element in value)
    return len(value.encode())
