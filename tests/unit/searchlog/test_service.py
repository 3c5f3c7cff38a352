"""The whole service over gRPC, with stores in memory."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from envoyapi.service.accesslog.v3 import als_pb2, als_pb2_grpc
from google.protobuf import json_format
from layer.searchlog.v2 import searchlog_pb2 as pb
from layer.searchlog.v2 import searchlog_pb2_grpc
from opentelemetry.metrics import NoOpMeter

from services.core.clock import SystemClock
from services.core.ids import random_id
from services.edge.call_metrics import CallMetrics
from services.edge.interceptors import ErrorInterceptor
from services.searchlog.settings import SearchLogSettings
from services.searchlog.wiring import SearchLog, open_searchlog
from tests.doubles.memory_cache import MemoryCache
from tests.doubles.memory_object_store import MemoryObjectStore
from tests.doubles.tapped_query import tapped_query

TRACE = "f81d4fae7dec11d0a76500a0c91e6bf6"
NOW = 1_790_000_000_000_000_000


@dataclass
class Running:
    """A served search log and a client of it."""

    searchlog: SearchLog
    stub: searchlog_pb2_grpc.SearchLogServiceAsyncStub
    tap: als_pb2_grpc.AccessLogServiceAsyncStub

    async def record(self, *searches: pb.SearchRecord, ack: int = 0) -> pb.RecordSearchesResponse:
        request = pb.RecordSearchesRequest(searches=searches, ack_level=ack)  # type: ignore[arg-type]
        (answer,) = [a async for a in self.stub.RecordSearches(iter([request]))]
        return answer

    async def listed(self, **fields: object) -> pb.ListSearchHistoryResponse:
        request = pb.ListSearchHistoryRequest(namespace="products")
        return await self.stub.ListSearchHistory(json_format.ParseDict(fields, request))


def settings(folder: Path, **fields: object) -> SearchLogSettings:
    values = {"object_store": "file:///unused", "spool_dir": folder / "spool", "writer_id": 7}
    return SearchLogSettings.model_validate(values | fields)


@pytest.fixture
def store() -> MemoryObjectStore:
    return MemoryObjectStore()


@pytest.fixture
async def running(tmp_path: Path, store: MemoryObjectStore) -> AsyncIterator[Running]:
    clock = SystemClock()
    async with open_searchlog(
        settings(tmp_path),
        object_store=store,
        cache=MemoryCache(clock),
        clock=clock,
        new_id=random_id,
    ) as searchlog:
        server = grpc.aio.server(interceptors=[ErrorInterceptor(CallMetrics(NoOpMeter("test")))])
        searchlog_pb2_grpc.add_SearchLogServiceServicer_to_server(searchlog.servicer, server)
        als_pb2_grpc.add_AccessLogServiceServicer_to_server(searchlog.access_logs, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Running(
                searchlog,
                searchlog_pb2_grpc.SearchLogServiceStub(channel),
                als_pb2_grpc.AccessLogServiceStub(channel),
            )
        await server.stop(0)


async def test_a_tapped_query_is_listed_and_stored_at_close(running: Running) -> None:
    message = als_pb2.StreamAccessLogsMessage()
    request = {"rank_by": ["vector", "ANN", [0.5] * 8], "top_k": 2, "filters": ["n", "Eq", 2**60]}
    message.http_logs.log_entry.extend(
        [
            tapped_query(request=request, response={"rows": [{"id": 2**60}, {"id": "b"}]}),
            tapped_query(request=request, response={"rows": []}, status=503),
        ]
    )
    await running.tap.StreamAccessLogs(iter([message, message]))
    answer = await running.listed()
    assert [entry.top_result_ids for entry in answer.entries] == [[str(2**60), "b"]] * 2
    assert json_format.MessageToDict(answer.entries[0].query) == {
        "vector": "f32[8]",
        "rank_by": ["vector", "ANN", "f32[8]"],
        "top_k": 2.0,
        "filters": ["n", "Eq", str(2**60)],
    }
    newer, older = answer.entries
    assert newer.timestamp_nanos - older.timestamp_nanos == 10_000
    assert older.timestamp_nanos % 1000 == 7
    assert older.timestamp == "2026-09-21T14:13:20.012Z"
    assert (older.trace_id, older.status, older.result_count) == (TRACE, 200, 2)
    assert not older.HasField("raw_query")
    assert not answer.HasField("next_cursor")
    assert running.searchlog.tap_counts.not_served == 2


async def test_nothing_ends_an_access_log_stream(running: Running) -> None:
    broken = als_pb2.StreamAccessLogsMessage()
    broken.http_logs.log_entry.add().response.response_code.value = 200
    broken.http_logs.log_entry.append(tapped_query(request=b"\xff", response=b"\xff"))
    await running.tap.StreamAccessLogs(iter([als_pb2.StreamAccessLogsMessage(), broken]))
    answer = await running.listed()
    assert [json_format.MessageToDict(entry.query) for entry in answer.entries] == [{}]


async def test_an_unforeseen_failure_costs_one_entry(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise ZeroDivisionError

    message = als_pb2.StreamAccessLogsMessage()
    message.http_logs.log_entry.append(tapped_query(request={}, response={"rows": []}))
    with monkeypatch.context() as patch:
        patch.setattr("services.searchlog.tap.read_request", failing)
        await running.tap.StreamAccessLogs(iter([message]))
    await running.tap.StreamAccessLogs(iter([message]))
    assert running.searchlog.tap_counts.failures == 1
    assert len((await running.listed()).entries) == 1


async def test_recorded_searches(running: Running, store: MemoryObjectStore) -> None:
    search = pb.SearchRecord(
        namespace="products",
        timestamp_nanos=NOW,
        trace_id=TRACE.upper(),
        tags=["b", "a"],
        status=200,
    )
    search.query.update(
        {"rank_by": ["Sum", [["t", "BM25", "socks"], ["v", "ANN", [1, 2]]]], "top_k": 3}
    )
    search.top_result_ids.extend(str(n) for n in range(150))
    answer = await running.record(search, ack=pb.ACK_LEVEL_STORED)
    assert (answer.accepted, list(answer.errors)) == (1, [])
    ((key, body),) = store.objects.items()
    entry = json.loads(body)
    assert key.endswith(f"/{entry['timestamp_nanos']}.jsonl")
    assert entry["query"] == {
        "vector": "f32[2]",
        "rank_by": ["Sum", [["t", "BM25", "socks"], ["v", "ANN", "f32[2]"]]],
        "top_k": 3,
    }
    assert isinstance(entry["query"]["top_k"], int)
    assert (entry["trace_id"], entry["tags"], entry["raw_query"]) == (TRACE, ["a", "b"], "socks")
    assert len(entry["top_result_ids"]) == 100
    assert 0 <= entry["timestamp_nanos"] - NOW < 10_000


async def test_bad_records_are_refused_and_the_rest_kept(running: Running) -> None:
    good = pb.SearchRecord(namespace="products")
    bad = [
        pb.SearchRecord(namespace="a/b"),
        pb.SearchRecord(namespace="products", tags=["a,b"]),
        pb.SearchRecord(namespace="products", tags=["a b"]),
        pb.SearchRecord(namespace="products", trace_id="short"),
        pb.SearchRecord(namespace="products", timestamp_nanos=5),
        pb.SearchRecord(namespace="products", timestamp_nanos=-1),
        pb.SearchRecord(namespace="products", timestamp_nanos=2**63 - 1),
    ]
    infinite = pb.SearchRecord(namespace="products")
    infinite.query.fields["x"].number_value = float("inf")
    answer = await running.record(good, *bad, infinite, good)
    assert answer.accepted == 2
    assert [error.index for error in answer.errors] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert all(error.message for error in answer.errors)
    entries = (await running.listed()).entries
    assert len({entry.trace_id for entry in entries}) == 2, "minted, one each"


async def test_fetches_and_their_list(running: Running) -> None:
    def fetch(**fields: object) -> pb.FetchRecord:
        values = {"namespace": "products", "trace_id": TRACE, "doc_id": "d", "served_from": "cache"}
        return json_format.ParseDict(values | fields, pb.FetchRecord())

    other = "0" * 31 + "1"
    request = pb.RecordFetchesRequest(
        fetches=[
            fetch(timestamp_nanos=NOW, doc_id="first", tags=["a"]),
            fetch(timestamp_nanos=NOW + 10**9, doc_id="second", served_from="upstream"),
            fetch(timestamp_nanos=NOW + 2 * 10**9, trace_id=other),
            fetch(trace_id=""),
            fetch(doc_id=""),
            fetch(served_from="disk"),
        ]
    )
    answers = [a async for a in running.stub.RecordFetches(iter([request, request]))]
    assert [answer.accepted for answer in answers] == [3, 3]
    assert [error.index for error in answers[0].errors] == [3, 4, 5]
    events = (
        await running.stub.ListClickstream(
            pb.ListClickstreamRequest(namespace="products", trace_id=TRACE, limit=3)
        )
    ).events
    assert [event.doc_id for event in events] == ["second", "second", "first"]
    assert (events[0].source, events[0].served_from, list(events[0].tags)) == (
        "fetch",
        "upstream",
        [],
    )
    assert events[2].timestamp == "2026-09-21T14:13:20.000Z"
    assert not (await running.listed()).entries


async def test_pages(running: Running) -> None:
    await running.record(
        *(pb.SearchRecord(namespace="products", timestamp_nanos=NOW + n * 10**6) for n in range(7))
    )
    found: list[int] = []
    cursor: dict[str, object] = {}
    for _ in range(3):
        page = await running.listed(limit=3, **cursor)
        found += [entry.timestamp_nanos for entry in page.entries]
        if not page.HasField("next_cursor"):
            break
        assert page.next_cursor == str(found[-1])
        cursor = {"before": page.next_cursor}
    assert len(found) == 7
    assert found == sorted(set(found), reverse=True)
    assert len((await running.listed(limit=100_000)).entries) == 7


@pytest.mark.parametrize(
    "fields",
    [
        {"namespace": "a/b"},
        {"limit": 0},
        {"limit": -1},
        {"before": "x"},
        {"before": "0"},
        {"tag": ["a b"]},
        {"from": "2026-05-22T08:00:00"},
        {"to": "now"},
        {"from": "2026-05-22T08:00:00.001Z", "to": "2026-05-22T08:00:00Z"},
    ],
)
async def test_bad_parameters_are_invalid(running: Running, fields: dict[str, object]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await running.listed(**fields)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert caught.value.details()


async def test_a_bad_ack_level_is_invalid(running: Running) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await running.record(pb.SearchRecord(namespace="products"), ack=9)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_closing_writes_what_is_held(tmp_path: Path, store: MemoryObjectStore) -> None:
    clock = SystemClock()
    async with open_searchlog(
        settings(tmp_path),
        object_store=store,
        cache=MemoryCache(clock),
        clock=clock,
        new_id=random_id,
    ) as searchlog:
        call = searchlog.servicer.RecordSearches(one_request(), None)  # type: ignore[arg-type]
        assert [answer.accepted async for answer in call] == [1]
        assert store.objects == {}
    assert len(store.objects) == 1
    assert sorted(path.name for path in (tmp_path / "spool").iterdir()) == ["lock", "starts"]


async def one_request() -> AsyncIterator[pb.RecordSearchesRequest]:
    yield pb.RecordSearchesRequest(searches=[pb.SearchRecord(namespace="products")])


def test_the_writer_id_comes_from_the_host_unless_set(tmp_path: Path) -> None:
    unset = settings(tmp_path, writer_id=None)
    assert 0 <= unset.writer_digits <= 999
    other = settings(tmp_path, writer_id=None, searchlog_port=9)
    assert unset.writer_digits != other.writer_digits
    assert settings(tmp_path).writer_digits == 7
