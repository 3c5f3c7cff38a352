"""What snapshot and scan requests have in common, checked."""

from __future__ import annotations

from typing import Final

from google.protobuf import struct_pb2

from services.core.errors import LayerError
from services.edge.values import from_value
from services.filters.parse import parse_filter
from services.indexes.policy import check_field_name
from services.snapshot.model import Source

__all__ = ["parse_field", "parse_filters", "parse_page_size", "parse_source"]

_DEFAULT_PAGE_SIZE: Final = 1000
_MAX_PAGE_SIZE: Final = 10_000


def parse_field(text: str) -> str:
    """The field.

    Raises:
        LayerError: VALIDATION, no attribute can have that name.
    """
    try:
        return check_field_name(text)
    except ValueError as error:
        raise LayerError.validation(f"field: {error}") from error


def parse_source(text: str) -> Source:
    """The source.

    Raises:
        LayerError: VALIDATION, there is none of that name.
    """
    try:
        return Source(text)
    except ValueError:
        names = ", ".join(source.value for source in Source)
        raise LayerError.validation(f"source must be one of {names}, not {text!r}") from None


def parse_page_size(requested: int | None) -> int:
    """The page size in force.

    Raises:
        LayerError: VALIDATION, out of range.
    """
    page_size = _DEFAULT_PAGE_SIZE if requested is None else requested
    if not 1 <= page_size <= _MAX_PAGE_SIZE:
        raise LayerError.validation(f"page_size must be 1 to {_MAX_PAGE_SIZE}")
    return page_size


def parse_filters(value: struct_pb2.Value) -> object | None:
    """The filters as they go upstream; None for none.

    Raises:
        LayerError: VALIDATION, they are no filter; the message names the path inside.
    """
    filters = from_value(value, "filters")
    if filters is not None:
        parse_filter(filters)
    return filters
