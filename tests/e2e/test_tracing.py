"""The caller's trace in everything: the answer, the trail, and the exported spans."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator

import grpc
import httpx
import pytest
import pytest_asyncio
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc

from services.cli.stack import Stack
from tests.e2e.conftest import ROWS, write
from tests.e2e.stacks import eventually, free_ports, running_stack

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

TRACE = "5b8efff798038103d269b633813fc60c"
TRACEPARENT = f"00-{TRACE}-eee19b7ec3c1b174-01"


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """An OTLP collector that keeps the services seen, by trace id."""

    def __init__(self) -> None:
        self.services: dict[str, set[str]] = defaultdict(set)

    async def Export(
        self, request: pb.ExportTraceServiceRequest, context: object
    ) -> pb.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            attributes = {a.key: a.value.string_value for a in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.services[span.trace_id.hex()].add(attributes["service.name"])
        return pb.ExportTraceServiceResponse()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def collector() -> AsyncIterator[tuple[Collector, int]]:
    servicer = Collector()
    server = grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(servicer, server)
    (port,) = free_ports(1)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    yield servicer, port
    await server.stop(1)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def traced(
    tmp_path_factory: pytest.TempPathFactory, collector: tuple[Collector, int]
) -> AsyncIterator[Stack]:
    overrides = {
        "LAYER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector[1]}",
        # The SDK's batches wait 5 s by default.
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    async with running_stack(tmp_path_factory.mktemp("traced"), overrides) as running:
        yield running


async def test_one_trace_id_everywhere(traced: Stack, collector: tuple[Collector, int]) -> None:
    await write(traced, "traced", ROWS[:5])
    async with httpx.AsyncClient(base_url=traced.gateway_url, timeout=20) as client:
        headers = {"traceparent": TRACEPARENT}
        query = {"rank_by": ["id", "asc"], "top_k": 1}
        answer = await client.post("/v2/namespaces/traced/query", json=query, headers=headers)
        assert answer.headers["traceparent"].split("-")[1] == TRACE
        await client.get("/v2/namespaces/traced/documents/1", headers=headers)

        async def clicks() -> int:
            events = await client.get(f"/v2/namespaces/traced/clickstream?trace_id={TRACE}")
            return len(events.json()["events"])

        await eventually(clicks, lambda count: count == 1)

    async def services() -> set[str]:
        return collector[0].services[TRACE]

    await eventually(services, lambda seen: {"layer-gateway", "document"} <= seen, seconds=20)


async def test_a_minted_trace_is_exported_under_the_id_that_was_answered(
    traced: Stack, collector: tuple[Collector, int]
) -> None:
    async with httpx.AsyncClient(base_url=traced.gateway_url, timeout=20) as client:
        answer = await client.get("/v2/namespaces/traced/history")
    minted = answer.headers["traceparent"].split("-")[1]

    async def services() -> set[str]:
        return collector[0].services[minted]

    await eventually(services, lambda seen: {"layer-gateway", "history"} <= seen, seconds=20)


async def test_a_collector_that_is_gone_slows_nothing(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    (unused,) = free_ports(1)
    overrides = {"LAYER_OTLP_ENDPOINT": f"http://127.0.0.1:{unused}"}
    async with running_stack(tmp_path_factory.mktemp("untraced"), overrides) as stack:
        await write(stack, "plain", ROWS[:5])
        async with httpx.AsyncClient(base_url=stack.gateway_url, timeout=5) as client:
            for _ in range(30):
                answer = await client.get("/v2/namespaces/plain/documents/1")
                assert answer.status_code == 200
