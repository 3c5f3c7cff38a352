"""A gateway with keys: closed on every route and for every protocol, but for health."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import httpx
import pytest
import pytest_asyncio
from layer.history.v2 import history_pb2, history_pb2_grpc

from services.cli.stack import Stack
from tests.e2e.conftest import ROWS
from tests.e2e.stacks import eventually, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def closed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack with two keys."""
    overrides = {"LAYER_GATEWAY_API_KEY": "first-key,second-key"}
    async with running_stack(tmp_path_factory.mktemp("closed"), overrides) as running:
        yield running


PATHS = (
    ("GET", "/v2/namespaces/x/history"),
    ("GET", "/v2/activity/snapshots?since=0"),
    ("POST", "/v2/namespaces/x/snapshots"),
    ("GET", "/v1/namespaces/x/search-history"),
    ("POST", "/v2/namespaces/x/query"),
    ("POST", "/v2/namespaces/x"),
    ("GET", "/v1/namespaces"),
    ("GET", "/nowhere"),
)


async def test_without_a_key_every_route_is_401(closed: Stack) -> None:
    async with httpx.AsyncClient(base_url=closed.gateway_url) as client:
        for header in ({}, {"authorization": "Bearer wrong"}, {"authorization": "first-key"}):
            for method, path in PATHS:
                answer = await client.request(method, path, headers=header)
                assert answer.status_code == 401, (method, path)
                assert answer.json()["error"] == "unauthorized"
        for path in ("/healthz", "/readyz"):
            assert (await client.get(path)).status_code == 200


async def test_with_a_key_everything_works_and_the_key_stays_here(closed: Stack) -> None:
    for key in ("first-key", "second-key"):
        headers = {"authorization": f"Bearer {key}"}
        async with httpx.AsyncClient(base_url=closed.gateway_url, headers=headers) as client:
            written = await client.post(
                f"/v2/namespaces/{key}",
                json={"upsert_rows": ROWS[:3], "distance_metric": "cosine_distance"},
            )
            assert written.status_code == 200, written.text
            query = {"rank_by": ["id", "asc"], "top_k": 1}
            assert (await client.post(f"/v2/namespaces/{key}/query", json=query)).status_code == 200

            async def logged(client: httpx.AsyncClient = client, key: str = key) -> int:
                answer = await client.get(f"/v2/namespaces/{key}/search-history")
                return len(answer.raise_for_status().json()["entries"])

            # The tap's own call to SearchLogService carries a key as well.
            await eventually(logged, lambda count: count == 1)
            traced = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
            await client.get(f"/v2/namespaces/{key}/documents/1", headers=traced)

            async def clicked(client: httpx.AsyncClient = client, key: str = key) -> int:
                answer = await client.get(f"/v2/namespaces/{key}/clickstream")
                return len(answer.raise_for_status().json()["events"])

            await eventually(clicked, lambda count: count == 1)


async def test_grpc_needs_the_key_at_the_gateway_and_behind_it(closed: Stack) -> None:
    request = history_pb2.ListSnapshotActivityRequest(since=0)
    addresses = (
        closed.gateway_url.removeprefix("http://"),
        f"127.0.0.1:{closed.port('history')}",
    )
    for address in addresses:
        async with grpc.aio.insecure_channel(address) as channel:
            stub = history_pb2_grpc.HistoryServiceStub(channel)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.ListSnapshotActivity(request)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
            await stub.ListSnapshotActivity(
                request, metadata=(("authorization", "Bearer second-key"),)
            )
