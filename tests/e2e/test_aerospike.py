"""The services over a real Aerospike, which their replicas share.

Without one they skip: start it as `deploy/aerospike.conf` says, and set
`LAYER_TEST_AEROSPIKE=host:port` (and `LAYER_TEST_AEROSPIKE_NAMESPACE`, if it is not `test`).
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
import pytest_asyncio
from layer.searchlog.v2 import searchlog_pb2 as pb
from layer.searchlog.v2 import searchlog_pb2_grpc

from services.cache.aerospike_cache import AerospikeCache, AerospikeSettings
from services.cli.stack import Stack
from services.core.clock import SystemClock
from services.core.ids import Namespace
from services.formats.snapshot_keys import latest_cache_key
from tests.contract.cache_backends import aerospike_settings
from tests.e2e.conftest import write
from tests.e2e.stacks import eventually, running_stack, snapshot_of, stack_settings
from tests.e2e.test_document_cache import cached, fetch

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("aerospike")


@pytest.fixture(scope="module")
def overrides(folder: Path) -> dict[str, str]:
    """What the replicas share."""
    server = aerospike_settings()
    return {
        "LAYER_CACHE": f"aerospike://{server.hosts}/{server.namespace}",
        "LAYER_OBJECT_STORE": f"file://{folder / 'objects'}",
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(folder: Path, overrides: dict[str, str]) -> AsyncIterator[Stack]:
    async with running_stack(folder, overrides) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def http(shared: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=shared.gateway_url, timeout=20) as client:
        yield client


@pytest.fixture
def namespace() -> str:
    """One that no earlier run left anything of."""
    return f"ns-{uuid.uuid4().hex}"


async def test_documents_are_cached_warmed_counted_and_forgotten(
    shared: Stack, http: httpx.AsyncClient, namespace: str
) -> None:
    rows: list[dict[str, object]] = [{"id": n, "color": "rgb"[n % 3]} for n in range(1, 1501)]
    await write(shared, namespace, rows)
    assert (await fetch(http, namespace)).headers["x-layer-cache"] == "miss"
    assert (await cached(http, namespace)).json()["attributes"] == {"color": "g"}
    base = f"/v2/namespaces/{namespace}"
    started = (await http.post(f"{base}/warm")).json()

    async def job() -> dict[str, Any]:
        answer = await http.get(f"{base}/warm-jobs/{started['id']}")
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    done = await eventually(job, lambda job: job["status"] != "running")
    assert (done["status"], done["documents_scanned"]) == ("completed", 1500)
    counted = await snapshot_of(http, namespace, field="color", source="cache")
    origin = await snapshot_of(http, namespace, field="color", source="origin")
    assert (counted["effective_source"], counted["sha"]) == ("cache", origin["sha"])
    patch = {"patch_rows": [{"id": 1, "color": "white"}]}
    assert (await http.post(base, json=patch)).status_code == 200
    seen = await fetch(http, namespace)
    assert (seen.headers["x-layer-cache"], seen.json()["attributes"]["color"]) == ("miss", "white")


async def test_the_newest_snapshot_is_mirrored(
    shared: Stack, http: httpx.AsyncClient, namespace: str, overrides: dict[str, str]
) -> None:
    await write(shared, namespace, [{"id": 1, "color": "red"}])
    done = await snapshot_of(http, namespace, field="color", source="origin")
    key = latest_cache_key(Namespace(namespace))
    server = aerospike_settings()
    settings = AerospikeSettings(server.hosts, server.namespace)
    async with AerospikeCache(settings, clock=SystemClock()) as cache:
        record = (await cache.get_many([key]))[key]
    assert done["sha"].encode() in record
    body = await http.get(f"/v2/namespaces/{namespace}/snapshots/{done['sha']}")
    assert body.status_code == 200, body.text


async def test_a_replica_lists_what_another_has_not_stored_yet(
    shared: Stack,
    http: httpx.AsyncClient,
    namespace: str,
    folder: Path,
    overrides: dict[str, str],
) -> None:
    (folder / "second").mkdir()
    second = Stack(stack_settings(folder / "second", folder / "second"), overrides)
    try:
        await second.start_one("searchlog")
        await write(shared, namespace, [{"id": 1}])
        query = {"rank_by": ["id", "asc"], "top_k": 1}
        headers = {"x-hevlayer-search-query": "shared at once"}
        path = f"/v2/namespaces/{namespace}/query"
        assert (await http.post(path, json=query, headers=headers)).status_code == 200
        request = pb.ListSearchHistoryRequest(namespace=namespace)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{second.port('searchlog')}") as channel:
            stub = searchlog_pb2_grpc.SearchLogServiceStub(channel)

            async def listed() -> list[str]:
                page = await stub.ListSearchHistory(request, timeout=10)
                return [entry.raw_query for entry in page.entries]

            found = await eventually(listed, lambda found: len(found) > 0, seconds=10)
        assert found == ["shared at once"]
        history = folder / "objects" / "search-history" / namespace
        assert not history.exists(), "stored already: this shows nothing of the cache"
    finally:
        await second.stop()
