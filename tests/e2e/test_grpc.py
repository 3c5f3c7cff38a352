"""gRPC clients: directly and through the gateway, with nothing of the JSON face in their way."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from layer.document.v2 import document_pb2, document_pb2_grpc
from layer.history.v2 import history_pb2, history_pb2_grpc
from layer.searchlog.v2 import searchlog_pb2, searchlog_pb2_grpc
from layer.snapshot.v2 import snapshot_pb2, snapshot_pb2_grpc

from services.cli.stack import Stack
from services.edge.status import ERROR_CODE_METADATA
from tests.e2e.stacks import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def channel(stack: Stack) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the gateway."""
    async with grpc.aio.insecure_channel(stack.gateway_url.removeprefix("http://")) as channel:
        yield channel


async def test_a_snapshot_by_stubs(channel: grpc.aio.Channel, products: str) -> None:
    snapshots = snapshot_pb2_grpc.SnapshotServiceStub(channel)
    started = await snapshots.CreateSnapshot(
        snapshot_pb2.CreateSnapshotRequest(namespace=products, field="color", source="origin")
    )

    async def job() -> snapshot_pb2.SnapshotJob:
        return await snapshots.GetSnapshotJob(
            snapshot_pb2.GetSnapshotJobRequest(namespace=products, job_id=started.id)
        )

    done = await eventually(job, lambda job: job.status != "running")
    assert done.status == "completed"
    history = history_pb2_grpc.HistoryServiceStub(channel)
    call = history.ListHistory(history_pb2.ListHistoryRequest(namespace=products))
    assert done.sha in [entry.sha async for entry in call]
    body = await history.GetSnapshot(
        history_pb2.GetSnapshotRequest(namespace=products, sha=done.sha[:12])
    )
    assert [(v.v, v.n) for v in body.fields[0].values] == [("blue", 20), ("green", 20), ("red", 20)]


async def test_errors_keep_their_grpc_status(channel: grpc.aio.Channel) -> None:
    history = history_pb2_grpc.HistoryServiceStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await history.GetSnapshot(history_pb2.GetSnapshotRequest(namespace="a/b", sha="1234567"))
    assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert dict(failed.value.trailing_metadata())[ERROR_CODE_METADATA] == "validation_error"
    documents = document_pb2_grpc.DocumentServiceStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await documents.GetDocument(
            document_pb2.GetDocumentRequest(namespace="never-written", doc_id="1")
        )
    assert failed.value.code() is grpc.StatusCode.NOT_FOUND


async def test_recorded_searches_are_listed(channel: grpc.aio.Channel) -> None:
    searchlog = searchlog_pb2_grpc.SearchLogServiceStub(channel)
    good = searchlog_pb2.SearchRecord(
        namespace="recorded", trace_id="a" * 32, raw_query="by rpc", top_result_ids=["1", "2"]
    )
    bad = searchlog_pb2.SearchRecord(namespace="a/b")
    request = searchlog_pb2.RecordSearchesRequest(searches=[good, bad, good])
    answers = [answer async for answer in searchlog.RecordSearches(iter([request]))]
    assert [(a.accepted, [e.index for e in a.errors]) for a in answers] == [(2, [1])]
    listed = await searchlog.ListSearchHistory(
        searchlog_pb2.ListSearchHistoryRequest(namespace="recorded")
    )
    assert [entry.raw_query for entry in listed.entries] == ["by rpc", "by rpc"]


async def test_health_and_reflection_of_every_service(stack: Stack) -> None:
    for name, service in (
        ("snapshot", "layer.snapshot.v2.SnapshotService"),
        ("history", "layer.history.v2.HistoryService"),
        ("searchlog", "layer.searchlog.v2.SearchLogService"),
        ("document", "layer.document.v2.DocumentService"),
    ):
        async with grpc.aio.insecure_channel(f"127.0.0.1:{stack.port(name)}") as direct:
            health = health_pb2_grpc.HealthStub(direct)
            for each in ("", service):
                answer = await health.Check(health_pb2.HealthCheckRequest(service=each))
                assert answer.status == health_pb2.HealthCheckResponse.SERVING
            reflection = reflection_pb2_grpc.ServerReflectionStub(direct)
            ask = reflection_pb2.ServerReflectionRequest(list_services="")
            async for found in reflection.ServerReflectionInfo(iter([ask])):
                assert service in [s.name for s in found.list_services_response.service]
