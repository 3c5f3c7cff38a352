"""Conditions of conditional writes: filters that may name the values that are being written
(turbopuffer.com/docs/write#conditional-writes)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from services.devstore.schema import Schema

__all__ = ["conditions_of"]

_REFERENCE: Final = "$ref_new"


def conditions_of(
    schema: Schema, condition: object, rows: Mapping[Any, Mapping[str, Any]]
) -> Iterator[tuple[Any, Sequence[Any]]]:
    """The filters that a condition comes to for the rows that are to be written, each with the
    ids of its rows: rows with the same referenced values share one.

    Args:
        rows: what is written, by document id.

    Raises:
        DevstoreError: 400, a reference to an attribute that the namespace does not have.
    """
    found: dict[str, tuple[Any, list[Any]]] = {}
    for identity, row in rows.items():
        asked = _with_values(schema, condition, row)
        found.setdefault(repr(asked), (asked, []))[1].append(identity)
    yield from found.values()


def _with_values(schema: Schema, part: Any, row: Mapping[str, Any]) -> Any:  # noqa: ANN401
    """Each `{"$ref_new": attribute}` is the row's value, null where it has none."""
    if isinstance(part, dict) and set(part) == {_REFERENCE}:
        return row.get(schema.get(part[_REFERENCE]).name)
    if isinstance(part, list):
        return [_with_values(schema, each, row) for each in part]
    return part
