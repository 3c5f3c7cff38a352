"""RFC 3339 times as the upstream and our callers write them."""

from __future__ import annotations

from datetime import UTC, datetime

__all__ = ["milliseconds_of"]


def milliseconds_of(text: str) -> int:
    """Epoch milliseconds of an RFC 3339 time with a zone; finer digits are cut.

    Raises:
        ValueError: it is not such a time.
    """
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return int(moment.astimezone(UTC).timestamp() * 1000)
