"""What a count can be asked for."""

from __future__ import annotations

from services.core.errors import LayerError
from services.core.ids import Namespace
from services.filters.evaluate import unsupported
from services.filters.parse import parse_filter
from services.snapshot.model import Source
from services.upstream.vector_store import is_vector

__all__ = ["check_countable", "check_source"]


def check_source(source: Source, filters: object | None) -> None:
    """Refuse at once what no job of that source can answer.

    Raises:
        LayerError: VALIDATION, filters that the source cannot apply.
    """
    if source is Source.STORED and filters is not None:
        raise LayerError.validation(
            "a stored body cannot be filtered; use source auto or origin with filters"
        )
    if source is Source.CACHE:
        path = None if filters is None else unsupported(parse_filter(filters))
        if path is not None:
            raise LayerError.validation(
                f"{path}: the cache cannot evaluate this; use source origin"
            )


def check_countable(declared: str | None, namespace: Namespace, field: str) -> None:
    """Refuse what no histogram can be made of.

    Args:
        declared: the field's type in the schema; None for no such attribute.

    Raises:
        LayerError: VALIDATION, no such attribute, or it is a vector.
    """
    if field == "id":
        return
    if declared is None:
        raise LayerError.validation(f"namespace {namespace!r} has no attribute {field!r}")
    if is_vector(declared):
        raise LayerError.validation(f"{field!r} is a vector; it has no facets")
