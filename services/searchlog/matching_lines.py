"""The lines of one object, or of a tail, that a page asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from services.formats.trail import LineHead, decode_head
from services.searchlog.page_query import PageQuery

__all__ = ["FoundLine", "LineFilter", "oldest_of"]

_ESCAPABLE: Final = "/"
"""Some JSON encoders write it as an escape."""


class FoundLine(NamedTuple):
    """A matching line. Equal ones are the same entry, written twice."""

    nanos: int
    line: bytes


class LineFilter:
    """Applies a page's query to lines. Counts lines that are no entries."""

    def __init__(self, query: PageQuery) -> None:
        self.malformed = 0
        self._query = query
        wanted = [*query.tags, *([query.trace_id] if query.trace_id else [])]
        self._needles = [text.encode() for text in wanted if _ESCAPABLE not in text]

    def newest(self, lines: Sequence[bytes], count: int) -> list[FoundLine]:
        """At most `count` matching lines, the newest; `lines` are oldest first."""
        found: list[FoundLine] = []
        for line, head in self._candidates(lines):
            if self._matches(head):
                found.append(FoundLine(head.timestamp_nanos, line))
                if len(found) >= count:
                    break
        return found

    def matches(self, line: bytes) -> bool:
        """The line is an entry that matches."""
        return bool(self.newest([line], 1))

    def _candidates(self, lines: Sequence[bytes]) -> Iterator[tuple[bytes, LineHead]]:
        """Lines that may match, newest first; a byte search is far cheaper than decoding."""
        for line in reversed(lines):
            if all(needle in line for needle in self._needles):
                head = decode_head(line)
                if head is None:
                    self.malformed += 1
                else:
                    yield line, head

    def _matches(self, head: LineHead) -> bool:
        query = self._query
        return (
            query.oldest <= head.timestamp_nanos <= query.newest
            and query.tags.issubset(head.tags)
            and (query.trace_id is None or head.trace_id == query.trace_id)
        )


def oldest_of(lines: Sequence[bytes]) -> int | None:
    """The time of the oldest entry; None when no line is an entry."""
    heads = (decode_head(line) for line in lines)
    return next((head.timestamp_nanos for head in heads if head is not None), None)
