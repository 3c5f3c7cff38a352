"""What the tap saw, as a search."""

from __future__ import annotations

import gzip
import json
import random
from typing import Any

import pytest
from envoyapi.data.accesslog.v3 import accesslog_pb2

from services.searchlog.model import Search
from services.searchlog.tap import TapCounts, TapReader
from tests.doubles.fake_clock import FakeClock
from tests.doubles.tapped_query import tapped_query

QUERY = {"rank_by": ["vector", "ANN", [0.5] * 1536], "top_k": 10, "filters": ["b", "Eq", "A"]}
ANSWER = {"rows": [{"id": 7, "$dist": 0.1}, {"id": "b", "$dist": 0.2}], "billing": {}}
SUMMARY = {
    "vector": "f32[1536]",
    "rank_by": ["vector", "ANN", "f32[1536]"],
    "top_k": 10,
    "filters": ["b", "Eq", "A"],
}
TRACE = "f81d4fae7dec11d0a76500a0c91e6bf6"
MINTED = "00000000000040008000000000000001"


def reader() -> TapReader:
    return TapReader(FakeClock(), lambda: "00000000-0000-4000-8000-000000000001")


def read(**fields: Any) -> Search:
    search = reader().read(tapped_query(**fields))
    assert search is not None
    return search


def test_a_whole_query() -> None:
    headers = {
        "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01",
        "x-hevlayer-tags": "session:abc123, ab:variant-b",
        "x-hevlayer-tag": "ab:variant-b",
        "x-hevlayer-search-query": " wireless headphones ",
    }
    tap = reader()
    search = tap.read(tapped_query(request=QUERY, response=ANSWER, headers=headers))
    assert search == Search(
        namespace="products",  # type: ignore[arg-type]
        served_ns=1_790_000_000_012_345_678,
        trace_id=TRACE,
        query=SUMMARY,
        raw_query="wireless headphones",
        top_result_ids=["7", "b"],
        tags=("ab:variant-b", "session:abc123"),
        status=200,
        duration_ms=12.346,
        result_count=2,
    )
    assert tap.counts == TapCounts(entries=1)


def test_the_text_is_the_bm25_when_no_header_says_otherwise() -> None:
    query = {"rank_by": ["text", "BM25", "red shoes"], "top_k": 3}
    assert read(request=query, response=ANSWER).raw_query == "red shoes"
    headers = {"x-hevlayer-search-query": "typed"}
    assert read(request=query, response=ANSWER, headers=headers).raw_query == "typed"
    assert read(request=QUERY, response=ANSWER).raw_query is None


@pytest.mark.parametrize(
    "traceparent",
    ["", "x", f"ff-{TRACE}-00f067aa0ba902b7-01", f"00-{'0' * 32}-00f067aa0ba902b7-01"],
)
def test_a_trace_id_is_minted_when_there_is_none(traceparent: str) -> None:
    assert read(headers={"traceparent": traceparent}).trace_id == MINTED
    assert read(headers={}).trace_id == MINTED


@pytest.mark.parametrize("status", [0, 199, 300, 404, 422, 500, 503])
def test_only_served_queries_are_searches(status: int) -> None:
    tap = reader()
    assert tap.read(tapped_query(request=QUERY, response=ANSWER, status=status)) is None
    assert tap.counts == TapCounts(entries=1, not_served=1)


@pytest.mark.parametrize(
    ("path", "namespace"),
    [
        ("/v2/namespaces/pro%64ucts/query", "products"),
        ("/v1/namespaces/a.b/query?x=1", "a.b"),
        ("/v2/namespaces/pro%2Fducts/query", None),
        ("/v3/namespaces/a/query", None),
        ("", None),
    ],
)
def test_the_path_names_the_namespace(path: str, namespace: str | None) -> None:
    tap = reader()
    search = tap.read(tapped_query(path=path))
    assert (search.namespace if search else None) == namespace
    assert tap.counts.without_namespace == (namespace is None)


def test_bad_tags_are_dropped_and_counted() -> None:
    tap = reader()
    search = tap.read(tapped_query(headers={"x-hevlayer-tags": "good,b d,schl\u00e4cht"}))
    assert search is not None
    assert search.tags == ("good",)
    assert tap.counts.bad_tags == 2


def test_compressed_bodies() -> None:
    search = read(
        request=gzip.compress(json.dumps(QUERY).encode()),
        response=gzip.compress(json.dumps(ANSWER).encode()),
        headers={"content-encoding": "gzip"},
        response_headers={"content-encoding": "gzip"},
    )
    assert (search.query, search.top_result_ids, search.result_count) == (SUMMARY, ["7", "b"], 2)


def test_cut_bodies() -> None:
    search = read(
        request=json.dumps(QUERY).encode()[:900],
        response=json.dumps(ANSWER).encode()[:40],
        request_truncated=True,
        response_truncated=True,
    )
    assert search.query == {"vector": "f32[?]", "rank_by": ["vector", "ANN", "f32[?]"]}
    assert search.top_result_ids == ["7"]
    assert search.result_count is None


def test_what_cannot_be_read_is_counted_and_the_rest_logged() -> None:
    tap = reader()
    search = tap.read(tapped_query(request=b"oops", response=b"\x1f\x8b"))
    assert search is not None
    assert (search.query, search.top_result_ids, search.trace_id) == ({}, (), TRACE)
    assert tap.counts == TapCounts(entries=1, unreadable_requests=1, unreadable_answers=1)


def test_times_that_are_missing() -> None:
    clock = FakeClock()
    assert read(start_ns=0).served_ns == clock.now_ns()
    plain = read(taken_ns=None)
    assert (plain.served_ns, plain.duration_ms) == (1_790_000_000_000_000_000, None)
    entry = tapped_query(taken_ns=None)
    entry.common_properties.duration.FromNanoseconds(2_000_000)
    search = reader().read(entry)
    assert search is not None
    assert (search.served_ns, search.duration_ms) == (1_790_000_000_002_000_000, 2.0)


@pytest.mark.parametrize("seconds", [-1, 999_999_990, 9_223_372_036, 253_402_300_799])
def test_a_time_outside_the_trail_is_now(seconds: int) -> None:
    entry = tapped_query(taken_ns=10**9)
    entry.common_properties.start_time.seconds = seconds
    search = reader().read(entry)
    assert search is not None
    assert search.served_ns == FakeClock().now_ns()


def test_random_bytes_are_never_an_error() -> None:
    rng = random.Random(5)
    whole = tapped_query(request=QUERY, response=ANSWER).SerializeToString()
    tap = reader()
    for _ in range(900):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 5, 50))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        entry = accesslog_pb2.HTTPAccessLogEntry()
        try:
            entry.ParseFromString(bytes(data))
        except Exception:  # noqa: BLE001 - gRPC would have refused it
            continue
        tap.read(entry)
    assert tap.counts.entries > 50
