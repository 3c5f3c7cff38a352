"""Failures and keys over a real gRPC server."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import pytest
from layer.history.v2 import history_pb2 as pb
from layer.history.v2 import history_pb2_grpc
from opentelemetry.metrics import Meter, NoOpMeter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader

from services.core.errors import ErrorKind, LayerError
from services.edge.call_metrics import CallMetrics
from services.edge.interceptors import ApiKeyInterceptor, ErrorInterceptor
from services.edge.status import ERROR_CODE_METADATA, GRPC_STATUS


class RaisingServicer(history_pb2_grpc.HistoryServiceServicer):
    """Raises what the test says, after one message where it streams."""

    def __init__(self, make_error: Callable[[], Exception]) -> None:
        self.make_error = make_error

    async def ListHistory(
        self, request: pb.ListHistoryRequest, context: object
    ) -> AsyncIterator[pb.HistoryEntry]:
        yield pb.HistoryEntry(sha="one")
        raise self.make_error()

    async def GetSnapshot(self, request: pb.GetSnapshotRequest, context: object) -> pb.SnapshotBody:
        raise self.make_error()

    async def ListSnapshotActivity(
        self, request: pb.ListSnapshotActivityRequest, context: object
    ) -> pb.ListSnapshotActivityResponse:
        return pb.ListSnapshotActivityResponse()


@asynccontextmanager
async def serving(
    make_error: Callable[[], Exception], keys: tuple[str, ...] = (), meter: Meter | None = None
) -> AsyncIterator[grpc.aio.Channel]:
    calls = CallMetrics(meter or NoOpMeter("test"))
    interceptors: list[grpc.aio.ServerInterceptor] = [ErrorInterceptor(calls)]
    if keys:
        interceptors.append(ApiKeyInterceptor(keys))
    server = grpc.aio.server(interceptors=interceptors)
    history_pb2_grpc.add_HistoryServiceServicer_to_server(RaisingServicer(make_error), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await server.stop(None)


@pytest.mark.parametrize("kind", list(ErrorKind))
async def test_a_layer_error_leaves_with_its_status_and_code(kind: ErrorKind) -> None:
    async with serving(lambda: LayerError(kind, "what to do")) as channel:
        stub = history_pb2_grpc.HistoryServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.GetSnapshot(pb.GetSnapshotRequest())
    assert failed.value.code() is GRPC_STATUS[kind]
    assert failed.value.details() == "what to do"
    assert dict(failed.value.trailing_metadata())[ERROR_CODE_METADATA] == kind.value


async def test_an_unexpected_error_shows_nothing_of_itself() -> None:
    async with serving(lambda: RuntimeError("bucket secret-name")) as channel:
        stub = history_pb2_grpc.HistoryServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.GetSnapshot(pb.GetSnapshotRequest())
    assert failed.value.code() is grpc.StatusCode.INTERNAL
    assert "secret-name" not in str(failed.value)


async def test_a_stream_that_fails_midway_says_so() -> None:
    async with serving(lambda: LayerError.not_found("gone")) as channel:
        stub = history_pb2_grpc.HistoryServiceStub(channel)
        call = stub.ListHistory(pb.ListHistoryRequest())
        received = []
        with pytest.raises(grpc.aio.AioRpcError) as failed:  # noqa: PT012 - the loop is the read
            async for entry in call:
                received.append(entry.sha)
        assert received == ["one"]
    assert failed.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_time_out_is_a_deadline() -> None:
    async with serving(lambda: TimeoutError()) as channel:
        stub = history_pb2_grpc.HistoryServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.GetSnapshot(pb.GetSnapshotRequest())
    assert failed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize(
    "header", ["", "Bearer wrong", "Basic two", "two", "Bearer ", "Bearer oneone"]
)
async def test_without_a_key_nothing_is_answered(header: str) -> None:
    async with serving(RuntimeError, keys=("one", "two")) as channel:
        stub = history_pb2_grpc.HistoryServiceStub(channel)
        metadata = (("authorization", header),) if header else ()
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.ListSnapshotActivity(pb.ListSnapshotActivityRequest(), metadata=metadata)
        assert failed.value.code() is grpc.StatusCode.UNAUTHENTICATED
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await stub.ListHistory(pb.ListHistoryRequest(), metadata=metadata).read()
        assert failed.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_each_of_the_keys_opens() -> None:
    async with serving(RuntimeError, keys=("one", "two")) as channel:
        stub = history_pb2_grpc.HistoryServiceStub(channel)
        for key in ("one", "two"):
            await stub.ListSnapshotActivity(
                pb.ListSnapshotActivityRequest(), metadata=(("authorization", f"Bearer {key}"),)
            )


async def test_a_request_that_cannot_be_read_is_the_callers_fault() -> None:
    async with serving(RuntimeError) as channel:
        send: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/layer.history.v2.HistoryService/GetSnapshot"
        )
        with pytest.raises(grpc.aio.AioRpcError) as failed:
            await send(b"\xff\xff")
    assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_every_call_is_counted_with_its_end() -> None:
    reader = InMemoryMetricReader()
    meter = MeterProvider([reader]).get_meter("test")
    async with serving(lambda: LayerError.not_found("no"), meter=meter) as channel:
        stub = history_pb2_grpc.HistoryServiceStub(channel)
        await stub.ListSnapshotActivity(pb.ListSnapshotActivityRequest())
        await stub.ListSnapshotActivity(pb.ListSnapshotActivityRequest())
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.GetSnapshot(pb.GetSnapshotRequest())
        with pytest.raises(grpc.aio.AioRpcError):
            [entry async for entry in stub.ListHistory(pb.ListHistoryRequest())]
    data = reader.get_metrics_data()
    assert data is not None
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    assert (metric.name, metric.unit) == ("rpc.server.call.duration", "s")
    ends: dict[tuple[object, object], int] = {}
    for point in metric.data.data_points:
        assert isinstance(point, HistogramDataPoint)
        assert point.attributes is not None
        attributes = point.attributes
        ends[attributes["rpc.method"], attributes["rpc.response.status_code"]] = point.count
    service = "layer.history.v2.HistoryService"
    assert ends == {
        (f"{service}/ListSnapshotActivity", "OK"): 2,
        (f"{service}/GetSnapshot", "NOT_FOUND"): 1,
        (f"{service}/ListHistory", "NOT_FOUND"): 1,
    }
