"""The document cache while processes are down: hits go on, writes go on, nothing old is served."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from services.cli.stack import Stack
from tests.e2e.conftest import write
from tests.e2e.stacks import eventually, running_stack
from tests.e2e.test_document_cache import cached, fetch

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

_WRITE_SECONDS = 5.0
"""A write without DocumentService: 2.25 s of waiting at most, on a machine that may be busy."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where that stack keeps everything."""
    return tmp_path_factory.mktemp("fragile")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fragile(folder: Path) -> AsyncIterator[Stack]:
    """A stack whose processes these tests kill."""
    overrides = {"LAYER_DOCUMENT_WRITE_SECONDS": "2"}
    async with running_stack(folder, overrides) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def http(fragile: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=fragile.gateway_url, timeout=20) as client:
        yield client


async def served(http: httpx.AsyncClient, namespace: str) -> httpx.Response:
    """The first fetch that a replica answers."""

    async def read() -> httpx.Response:
        return await fetch(http, namespace)

    return await eventually(read, lambda answer: answer.status_code == 200, seconds=30)


async def timed_write(http: httpx.AsyncClient, namespace: str, n: int) -> float:
    started = time.monotonic()
    body = {"upsert_rows": [{"id": 1, "n": n}]}
    assert (await http.post(f"/v2/namespaces/{namespace}", json=body)).status_code == 200
    return time.monotonic() - started


async def test_hits_are_served_while_the_upstream_is_down(
    fragile: Stack, http: httpx.AsyncClient
) -> None:
    await write(fragile, "steady", [{"id": 1, "n": 1}, {"id": 2, "n": 2}])
    await cached(http, "steady")
    await fragile.kill_one("devstore")
    try:
        hit = await fetch(http, "steady")
        assert (hit.status_code, hit.headers["x-layer-cache"]) == (200, "hit")
        some = await http.get("/v2/namespaces/steady/documents/1?include_attributes=n")
        assert some.json() == {"id": "1", "attributes": {"n": 1}}
    finally:
        await fragile.start_one("devstore")


async def test_writes_while_the_service_is_killed_are_seen_afterwards(
    fragile: Stack, http: httpx.AsyncClient
) -> None:
    await timed_write(http, "killed", 1)
    await cached(http, "killed")
    await fragile.kill_one("document")
    assert await timed_write(http, "killed", 2) < _WRITE_SECONDS
    await fragile.start_one("document")
    assert (await served(http, "killed")).json()["attributes"]["n"] == 2
    await cached(http, "killed")


async def test_writes_while_the_service_stands_still_are_seen_afterwards(
    fragile: Stack, http: httpx.AsyncClient
) -> None:
    """It never hears of the notices, which have timed out, and has not been restarted."""
    await timed_write(http, "still", 1)
    await cached(http, "still")
    process = fragile.children["document"].process
    os.kill(process.pid, signal.SIGSTOP)
    try:
        assert await timed_write(http, "still", 2) < _WRITE_SECONDS
    finally:
        os.kill(process.pid, signal.SIGCONT)
    assert (await served(http, "still")).json()["attributes"]["n"] == 2
    await cached(http, "still")


async def test_a_write_whose_caller_went_away_is_not_overlooked(
    fragile: Stack, http: httpx.AsyncClient
) -> None:
    """The gateway hears of no answer, so its second notice never comes."""
    await timed_write(http, "aborted", 1)
    await cached(http, "aborted")
    headers = {"authorization": "Bearer any"}
    async with httpx.AsyncClient(base_url=fragile.devstore_url, headers=headers) as upstream:
        behaviour = "/dev/v1/namespaces/aborted/behaviour"
        await upstream.put(behaviour, json={"delay_ms": 700})
        with pytest.raises(httpx.ReadTimeout):
            await http.post(
                "/v2/namespaces/aborted", json={"upsert_rows": [{"id": 1, "n": 2}]}, timeout=0.4
            )
        assert (await fetch(http, "aborted")).headers["x-layer-cache"] == "miss"
        await upstream.delete(behaviour)
        hit = await cached(http, "aborted")
        query = {"rank_by": ["id", "asc"], "top_k": 1, "include_attributes": ["n"]}
        direct = await upstream.post("/v2/namespaces/aborted/query", json=query)
    assert hit.json()["attributes"]["n"] == direct.json()["rows"][0]["n"]


async def test_a_deleted_cache_is_a_miss(http: httpx.AsyncClient, folder: Path) -> None:
    await timed_write(http, "wiped", 1)
    await cached(http, "wiped")
    shutil.rmtree(folder / "data" / "cache")
    assert (await served(http, "wiped")).json()["attributes"]["n"] == 1
    await cached(http, "wiped")


async def test_a_cache_that_is_down_from_the_start_degrades_to_the_upstream(
    tmp_path: Path,
) -> None:
    overrides = {"LAYER_CACHE": "aerospike://127.0.0.1:1/layer"}
    async with (
        running_stack(tmp_path, overrides) as stack,
        httpx.AsyncClient(base_url=stack.gateway_url, timeout=20) as client,
    ):
        for number in range(10):
            await timed_write(client, "uncached", number)
            answer = await fetch(client, "uncached")
            assert answer.json()["attributes"]["n"] == number
            assert answer.headers["x-layer-cache"] == "miss-on-error"
