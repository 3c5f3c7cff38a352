"""Searches and fetches get their lines and go to the writer."""

from __future__ import annotations

from functools import partial

from services.formats.trail import ClickstreamEvent, SearchEntry, encode_line, format_timestamp
from services.formats.trail_keys import TrailKind
from services.searchlog.model import AckLevel, DropReason, Fetch, Search, Stream
from services.searchlog.writer import Receipt, TrailWriter

__all__ = ["Recorder"]


class Recorder:
    """Takes searches and fetches; never waits."""

    def __init__(self, writer: TrailWriter) -> None:
        self._writer = writer

    def search(self, search: Search, ack: AckLevel) -> Receipt | DropReason:
        """Keep a search."""
        stream = Stream(TrailKind.SEARCHES, search.namespace)
        return self._writer.record(stream, search.served_ns, partial(_search_line, search), ack)

    def fetch(self, fetch: Fetch, ack: AckLevel) -> Receipt | DropReason:
        """Keep a fetch."""
        stream = Stream(TrailKind.CLICKS, fetch.namespace)
        return self._writer.record(stream, fetch.served_ns, partial(_fetch_line, fetch), ack)


def _search_line(search: Search, stamp: int) -> bytes:
    return encode_line(
        SearchEntry(
            timestamp=format_timestamp(stamp),
            timestamp_nanos=stamp,
            namespace=search.namespace,
            trace_id=search.trace_id,
            raw_query=search.raw_query,
            query=dict(search.query),
            top_result_ids=tuple(search.top_result_ids),
            tags=tuple(search.tags),
            status=search.status,
            duration_ms=search.duration_ms,
            result_count=search.result_count,
        )
    )


def _fetch_line(fetch: Fetch, stamp: int) -> bytes:
    return encode_line(
        ClickstreamEvent(
            timestamp=format_timestamp(stamp),
            timestamp_nanos=stamp,
            trace_id=fetch.trace_id,
            namespace=fetch.namespace,
            doc_id=fetch.doc_id,
            tags=tuple(fetch.tags),
            served_from=fetch.served_from,
        )
    )
