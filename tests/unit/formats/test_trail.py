"""The lines of the trail."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.formats.trail import (
    ClickstreamEvent,
    SearchEntry,
    decode_head,
    decode_line,
    encode_line,
    format_timestamp,
    split_lines,
)

GOLDEN = Path(__file__).parents[2] / "golden"
TRACE = "f81d4fae7dec11d0a76500a0c91e6bf6"

SEARCHES = [
    SearchEntry(
        timestamp="2026-05-22T08:00:00.123Z",
        timestamp_nanos=1779436800123450007,
        namespace="products",
        trace_id=TRACE,
        raw_query="wireless headphones",
        query={
            "vector": "f32[1536]",
            "rank_by": ["vector", "ANN", "f32[1536]"],
            "top_k": 10,
            "filters": ["brand", "Eq", "Acme"],
        },
        top_result_ids=("asin-B08N5WRWNW", "7"),
        tags=("ab:variant-b", "session:abc123"),
        status=200,
        duration_ms=12.345,
        result_count=2,
    ),
    SearchEntry(
        timestamp="2026-05-22T08:00:01.000Z",
        timestamp_nanos=1779436801000000007,
        namespace="products",
        trace_id=TRACE,
        query={},
    ),
]
CLICKS = [
    ClickstreamEvent(
        timestamp="2026-05-22T08:00:03.000Z",
        timestamp_nanos=1779436803000010999,
        trace_id=TRACE,
        namespace="products",
        doc_id="asin-B08N5WRWNW",
        tags=("session:abc123",),
        served_from="cache",
    )
]


def test_the_golden_searches_are_read_and_written_the_same() -> None:
    body = (GOLDEN / "search-history.v1.jsonl").read_bytes()
    lines = split_lines(body)
    assert [decode_line(line, SearchEntry) for line in lines] == SEARCHES
    assert b"".join(encode_line(entry) + b"\n" for entry in SEARCHES) == body


def test_the_golden_clicks_are_read_and_written_the_same() -> None:
    body = (GOLDEN / "clickstream.v1.jsonl").read_bytes()
    assert [decode_line(line, ClickstreamEvent) for line in split_lines(body)] == CLICKS
    assert b"".join(encode_line(event) + b"\n" for event in CLICKS) == body


def test_another_writers_line_is_read() -> None:
    line = b' {"timestamp_nanos": 5, "timestamp": "t", "namespace": "n", "query": {}, "new": [1]}\r'
    entry = decode_line(line, SearchEntry)
    assert entry == SearchEntry(timestamp="t", timestamp_nanos=5, namespace="n", query={})
    head = decode_head(line)
    assert head is not None
    assert (head.timestamp_nanos, head.trace_id, head.tags) == (5, None, ())


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"null",
        b'{"timestamp_nanos": "5"}',
        b'{"timestamp_nanos": 5.5}',
        b'{"timestamp_nanos": 5, "tags": ["a", 1]}',
        b'{"timestamp_nanos": 5, "trace_id": "\xff"}',
        b'{"timestamp_nanos":' + b"[" * 100_000,
    ],
)
def test_what_is_no_entry_is_none(line: bytes) -> None:
    assert decode_line(line, SearchEntry) is None
    assert decode_line(line, ClickstreamEvent) is None
    assert decode_head(line) is None


def test_lines_are_split_at_line_feeds_only() -> None:
    assert split_lines(b'a\n\n{"q":"x\xe2\x80\xa8y"}\n \nlast') == [
        b"a",
        b'{"q":"x\xe2\x80\xa8y"}',
        b"last",
    ]


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (1779436800123999999, "2026-05-22T08:00:00.123Z"),
        (1779436799999999999, "2026-05-22T07:59:59.999Z"),
        (10**18, "2001-09-09T01:46:40.000Z"),
    ],
)
def test_timestamps_are_cut_to_milliseconds(nanos: int, text: str) -> None:
    assert format_timestamp(nanos) == text
