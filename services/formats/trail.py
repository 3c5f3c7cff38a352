"""The lines of the query trail: a search, or the fetch of a document that followed it.

A file of the trail is JSON Lines: one object a line, UTF-8, a line feed after each. Names and
order of the fields are those of the public API. Optional fields are absent when they are not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal, TypeVar

import msgspec

__all__ = [
    "ClickstreamEvent",
    "Entry",
    "LineHead",
    "SearchEntry",
    "decode_head",
    "decode_line",
    "encode_line",
    "format_timestamp",
    "split_lines",
]


def _no_strings() -> tuple[str, ...]:
    """An empty list that is written; msgspec leaves out plain defaults."""
    return ()


class SearchEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One served query."""

    timestamp: str
    """RFC 3339, UTC, milliseconds: `timestamp_nanos` for people."""
    timestamp_nanos: int
    """When it was served: epoch nanoseconds, unique in the namespace."""
    namespace: str
    trace_id: str | None = None
    """W3C trace id, 32 hex digits."""
    raw_query: str | None = None
    """What the user typed."""
    query: dict[str, Any]
    """The request without its vectors; see `services.searchlog.query_summary`."""
    top_result_ids: tuple[str, ...] = msgspec.field(default_factory=_no_strings)
    tags: tuple[str, ...] = msgspec.field(default_factory=_no_strings)
    status: int | None = None
    duration_ms: float | None = None
    result_count: int | None = None


class ClickstreamEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One document that was fetched within a trace."""

    timestamp: str
    timestamp_nanos: int
    trace_id: str
    namespace: str
    doc_id: str
    tags: tuple[str, ...] = msgspec.field(default_factory=_no_strings)
    source: str = msgspec.field(default_factory=lambda: "fetch")
    served_from: Literal["cache", "upstream"]


class LineHead(msgspec.Struct, frozen=True):
    """What filters need of a line of either kind; the rest is skipped, not decoded."""

    timestamp_nanos: int
    trace_id: str | None = None
    tags: tuple[str, ...] = ()


Entry = SearchEntry | ClickstreamEvent
EntryT = TypeVar("EntryT", SearchEntry, ClickstreamEvent)

_ENCODER: Final = msgspec.json.Encoder()
_HEAD: Final = msgspec.json.Decoder(LineHead)
_DECODERS: Final[dict[type, msgspec.json.Decoder[Any]]] = {
    SearchEntry: msgspec.json.Decoder(SearchEntry),
    ClickstreamEvent: msgspec.json.Decoder(ClickstreamEvent),
}


def encode_line(entry: Entry) -> bytes:
    """The entry's line, without its line feed."""
    return _ENCODER.encode(entry)


def split_lines(body: bytes) -> Sequence[bytes]:
    """The lines of a file, oldest first; blank ones are left out."""
    return [line for line in body.split(b"\n") if line.strip()]


def decode_line(line: bytes, kind: type[EntryT]) -> EntryT | None:
    """The entry; None for a line that is not one. Unknown fields are ignored."""
    try:
        entry: EntryT = _DECODERS[kind].decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return entry


def decode_head(line: bytes) -> LineHead | None:
    """Time, trace and tags; None for a line that is no entry."""
    try:
        return _HEAD.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def format_timestamp(nanos: int) -> str:
    """Epoch nanoseconds as RFC 3339, UTC, cut to milliseconds."""
    seconds, rest = divmod(nanos, 1_000_000_000)
    return f"{_format_second(seconds)}.{rest // 1_000_000:03d}Z"


@lru_cache(maxsize=64)
def _format_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
