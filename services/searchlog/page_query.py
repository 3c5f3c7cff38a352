"""What a list call asks for, parsed and checked."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from services.core.errors import LayerError
from services.formats.tags import parse_tags_strictly
from services.formats.trail_keys import MAX_NANOS, MIN_NANOS
from services.searchlog.trace_ids import parse_trace_id

__all__ = ["PageQuery", "parse_page_query"]

_RFC_3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d{2}:\d{2})",
    re.ASCII,
)
_CURSOR = re.compile(r"\d{1,19}", re.ASCII)


@dataclass(frozen=True)
class PageQuery:
    """A page: the newest `limit` entries in a range of time that match."""

    limit: int
    oldest: int = MIN_NANOS
    """Epoch nanoseconds, included."""
    newest: int = MAX_NANOS
    """Epoch nanoseconds, included."""
    tags: frozenset[str] = frozenset()
    """All must be present."""
    trace_id: str | None = None


def parse_page_query(
    *,
    limit: int,
    tags: Iterable[str],
    from_: str | None,
    to: str | None,
    before: str | None,
    trace_id: str | None = None,
) -> PageQuery:
    """The query of a list call's parameters; None means not given.

    Raises:
        LayerError: VALIDATION, names the parameter.
    """
    oldest = 0 if from_ is None else parse_time(from_, "from")
    newest = MAX_NANOS if to is None else parse_time(to, "to")
    if from_ is not None and newest < oldest:
        raise LayerError.validation("from is after to")
    if before is not None:
        newest = min(newest, _parse_cursor(before) - 1)
    return PageQuery(
        limit=limit,
        oldest=max(oldest, MIN_NANOS),
        newest=min(newest, MAX_NANOS),
        tags=frozenset(parse_tags_strictly(tags)),
        trace_id=None if trace_id is None else parse_trace_id(trace_id),
    )


def parse_time(text: str, name: str) -> int:
    """Epoch nanoseconds of an RFC 3339 time; digits beyond nanoseconds are cut.

    Raises:
        LayerError: VALIDATION.
    """
    match = _RFC_3339.fullmatch(text)
    try:
        if match is None:
            raise ValueError(text)
        date, clock, fraction, zone = match.groups()
        moment = datetime.fromisoformat(f"{date}T{clock}{zone.upper()}").astimezone(UTC)
    except (ValueError, OverflowError):
        raise LayerError.validation(
            f"{name} must be an RFC 3339 time with a zone, such as 2026-05-22T08:00:00Z"
        ) from None
    return int(moment.timestamp()) * 10**9 + int((fraction or "0").ljust(9, "0"))


def _parse_cursor(text: str) -> int:
    nanos = int(text) if _CURSOR.fullmatch(text) else 0
    if not 0 < nanos <= MAX_NANOS:
        raise LayerError.validation(
            "before must be a next_cursor or timestamp_nanos: decimal digits, above 0, below 2^63"
        )
    return nanos
