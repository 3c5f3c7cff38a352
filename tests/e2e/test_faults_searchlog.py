"""The trail with real processes, an S3 that fails, and load through Envoy meanwhile.

After each fault, following cursors visits every entry once, and all that were acknowledged.
"""

from __future__ import annotations

import asyncio
import resource
import shutil
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import httpx
import pytest
import pytest_asyncio
from layer.searchlog.v2 import searchlog_pb2 as pb
from layer.searchlog.v2 import searchlog_pb2_grpc

from services.cli.stack import Stack
from tests.contract.s3_server import running_s3
from tests.doubles.fault_proxy import FaultProxy
from tests.e2e.conftest import write
from tests.e2e.stacks import eventually, running_stack, stack_settings
from tests.e2e.test_faults import listed

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

QUERY = {"rank_by": ["id", "asc"], "top_k": 3}
ROWS: list[dict[str, object]] = [{"id": n} for n in range(1, 6)]
WORKERS = 4
BATCH = 5


@dataclass
class Site:
    """A stack over an S3 that can be taken away, and what its settings share."""

    stack: Stack
    s3: FaultProxy
    folder: Path
    variables: dict[str, str]

    @property
    def cache(self) -> Path:
        return self.folder / "data" / "cache"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    folder = tmp_path_factory.mktemp("trail")
    with running_s3() as server:
        async with FaultProxy(server.endpoint_url) as proxy:
            variables = {
                **server.variables(server.own_prefix(), proxy.url),
                "LAYER_CACHE": f"lmdb://{folder / 'data' / 'cache'}",
                "LAYER_FLUSH_LINGER_SECONDS": "2",
            }
            async with running_stack(folder, variables) as stack:
                yield Site(stack, proxy, folder, variables)


@pytest_asyncio.fixture(loop_scope="module")
async def http(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=site.stack.gateway_url, timeout=20) as client:
        yield client


@dataclass
class Load:
    """What was sent, and what was promised about it."""

    namespace: str
    answered: set[str] = field(default_factory=set)
    """Queries through Envoy with a good answer."""
    refused: list[str] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)
    """Recorded by gRPC, and on a disk."""
    slowest_seconds: float = 0.0

    async def query(self, http: httpx.AsyncClient, name: str) -> None:
        started = time.monotonic()
        path = f"/v2/namespaces/{self.namespace}/query"
        headers = {"x-hevlayer-search-query": name}
        try:
            answer = await http.post(path, json=QUERY, headers=headers)
        except httpx.TransportError as error:
            self.refused.append(f"{name}: {error!r}")
            return
        self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - started)
        if answer.status_code == 200 and len(answer.json()["rows"]) == QUERY["top_k"]:
            self.answered.add(name)
        else:
            self.refused.append(f"{name}: {answer.status_code} {answer.text}")

    async def record(self, stub: searchlog_pb2_grpc.SearchLogServiceAsyncStub, name: str) -> None:
        records = [
            pb.SearchRecord(namespace=self.namespace, raw_query=f"{name}-{n}") for n in range(BATCH)
        ]
        request = pb.RecordSearchesRequest(searches=records, ack_level=pb.ACK_LEVEL_FSYNCED)
        try:
            async for answer in stub.RecordSearches(iter([request]), timeout=10):
                if answer.accepted == BATCH:
                    self.acknowledged.update(record.raw_query for record in records)
        except grpc.aio.AioRpcError:
            await asyncio.sleep(0.05)

    async def more(self, answered: int = 40, acknowledged: int = 100) -> None:
        """Return once so much more has been answered and acknowledged."""
        queries, records = len(self.answered) + answered, len(self.acknowledged) + acknowledged

        async def enough() -> bool:
            return len(self.answered) >= queries and len(self.acknowledged) >= records

        await eventually(enough, bool, seconds=30)


@asynccontextmanager
async def under_load(
    http: httpx.AsyncClient, stack: Stack, namespace: str, *ports: int
) -> AsyncIterator[Load]:
    """Queries through Envoy and records to each port, for as long as the context is open."""
    await write(stack, namespace, ROWS)
    load = Load(namespace)
    stopped = asyncio.Event()

    async def ask(worker: int) -> None:
        number = 0
        while not stopped.is_set():
            await load.query(http, f"query-{worker}-{number}")
            number += 1
            await asyncio.sleep(0.005)

    async def record(port: int) -> None:
        number = 0
        async with grpc.aio.insecure_channel(
            f"127.0.0.1:{port}", options=[("grpc.max_reconnect_backoff_ms", 200)]
        ) as channel:
            stub = searchlog_pb2_grpc.SearchLogServiceStub(channel)
            while not stopped.is_set():
                await load.record(stub, f"record-{port}-{number}")
                number += 1

    async with asyncio.TaskGroup() as group:
        for worker in range(WORKERS):
            group.create_task(ask(worker))
        for port in ports or (stack.port("searchlog"),):
            group.create_task(record(port))
        try:
            yield load
        finally:
            stopped.set()


async def all_there(http: httpx.AsyncClient, load: Load, expected: set[str]) -> None:
    """Every expected entry comes up, and none twice, before and after it is stored."""

    async def names() -> Sequence[str]:
        try:
            return [entry["raw_query"] for entry in await listed(http, load.namespace)]
        except httpx.HTTPStatusError:
            return []

    assert expected
    found = await eventually(names, lambda found: expected <= set(found), seconds=40)
    assert len(found) == len(set(found))


async def test_sigkill_of_searchlog_under_load(site: Site, http: httpx.AsyncClient) -> None:
    async with under_load(http, site.stack, "killed") as load:
        await load.more()
        await site.stack.kill_one("searchlog")
        await load.more(answered=100, acknowledged=0)
        await site.stack.start_one("searchlog")
        await load.more()
    assert load.refused == []
    await all_there(http, load, load.acknowledged)


async def test_the_store_goes_away_and_comes_back(site: Site, http: httpx.AsyncClient) -> None:
    async with under_load(http, site.stack, "outage") as load:
        await load.more()
        site.s3.down()
        try:
            await load.more(answered=200, acknowledged=300)
            refused = await http.get("/v2/namespaces/outage/search-history")
            assert (refused.status_code, refused.json()["error"]) == (503, "service_unavailable")
        finally:
            site.s3.up()
        await load.more()
    assert load.refused == []
    assert site.s3.refused > 0
    # What Envoy taps is on its way for a moment, and was never dropped: the service was up.
    await all_there(http, load, load.acknowledged | load.answered)


async def test_a_slow_store_slows_nobody(site: Site, http: httpx.AsyncClient) -> None:
    async with under_load(http, site.stack, "slow") as load:
        site.s3.delay_seconds = 2.0
        try:
            started = time.monotonic()
            await load.more(answered=200, acknowledged=300)
            page = await http.get("/v2/namespaces/slow/search-history?limit=5")
            assert page.status_code == 200
            assert time.monotonic() - started > 2.0, "the store was not slow"
        finally:
            site.s3.delay_seconds = 0.0
    assert load.refused == []
    assert load.slowest_seconds < 1.9, "a query waited for the store"
    await all_there(http, load, load.acknowledged | load.answered)


async def test_a_store_that_asks_to_slow_down_loses_nothing(
    site: Site, http: httpx.AsyncClient
) -> None:
    async with under_load(http, site.stack, "storm") as load:
        site.s3.slow_down_rate = 0.8
        try:
            await load.more(answered=200, acknowledged=300)
            # As S3 does while it splits a busy prefix: for seconds nothing else is answered.
            site.s3.slow_down_rate = 1.0
            await load.more(answered=200, acknowledged=300)
        finally:
            site.s3.slow_down_rate = 0.0
    assert site.s3.slowed_down > 0
    assert load.refused == []
    assert load.slowest_seconds < 1.9, "a query waited for the store"
    await all_there(http, load, load.acknowledged | load.answered)


@contextmanager
def full_disk(pid: int) -> Iterator[None]:
    """No file of a running process may grow: each write of the spool, the cache and the log fails
    as on a full disk (getrlimit(2): RLIMIT_FSIZE, EFBIG)."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk(site: Site, http: httpx.AsyncClient) -> None:
    async with under_load(http, site.stack, "full-disk") as load:
        await load.more()
        with full_disk(site.stack.children["searchlog"].process.pid):
            # What cannot be spooled is safe once it is in the object store.
            await load.more(answered=200, acknowledged=50)
            site.s3.down()
            try:
                # With neither, nothing is promised, and queries do not notice.
                await load.more(answered=200, acknowledged=0)
            finally:
                site.s3.up()
        await load.more()
    assert load.refused == []
    assert load.slowest_seconds < 1.9, "a query waited for the disk"
    await all_there(http, load, load.acknowledged | load.answered)


async def test_two_replicas_write_one_namespace(site: Site, http: httpx.AsyncClient) -> None:
    folder = site.folder / "second"
    folder.mkdir()
    second = Stack(stack_settings(folder, folder), site.variables)
    port = second.port("searchlog")
    try:
        await second.start_one("searchlog")
        ports = (site.stack.port("searchlog"), port)
        async with under_load(http, site.stack, "shared", *ports) as load:
            await load.more(acknowledged=300)
        # At once: the second replica's last entries are seen through the cache.
        await all_there(http, load, load.acknowledged | load.answered)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = searchlog_pb2_grpc.SearchLogServiceStub(channel)
            recorded: list[str] = []
            request = pb.ListSearchHistoryRequest(namespace="shared", limit=500)
            # A page whose work took long comes short, with a cursor.
            while len(recorded) < 500:
                page = await stub.ListSearchHistory(request, timeout=10)
                recorded += [entry.raw_query for entry in page.entries]
                if not page.next_cursor:
                    break
                request.before = page.next_cursor
        assert len(recorded) == len(set(recorded))
        await second.kill_one("searchlog")
        await second.start_one("searchlog")
        await second.stop_one("searchlog")
        await all_there(http, load, load.acknowledged | load.answered)
    finally:
        await second.stop()


async def test_envoy_restarts(site: Site, http: httpx.AsyncClient) -> None:
    async with under_load(http, site.stack, "gateway") as load:
        await load.more()
        # What Envoy still holds back, for 0.2 s, may be lost; nothing that has been listed.
        before = set(load.answered)
        await all_there(http, load, before)
        await site.stack.kill_one("gateway")
        await site.stack.start_one("gateway")
        at_restart = set(load.answered)
        await load.more()
    after = load.answered - at_restart
    await all_there(http, load, load.acknowledged | before | after)


async def test_the_cache_folder_is_deleted(site: Site, http: httpx.AsyncClient) -> None:
    async with under_load(http, site.stack, "uncached") as load:
        await load.more()
        shutil.rmtree(site.cache)
        await load.more(answered=100)
        await site.stack.stop_one("searchlog")
        await site.stack.start_one("searchlog")
        await load.more()
    assert load.refused == []
    await all_there(http, load, load.acknowledged)
