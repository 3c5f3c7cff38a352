"""Real processes killed: nothing acknowledged is lost, and queries go on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest
import pytest_asyncio
from layer.searchlog.v2 import searchlog_pb2 as pb
from layer.searchlog.v2 import searchlog_pb2_grpc

from services.cli.stack import Stack
from tests.e2e.conftest import write
from tests.e2e.stacks import eventually, running_stack, snapshot_of

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

ROWS: list[dict[str, object]] = [
    {"id": n, "color": "red" if n % 2 else "blue"} for n in range(1, 21)
]
QUERY = {"rank_by": ["id", "asc"], "top_k": 3}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fragile(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stack]:
    """A stack whose processes these tests kill."""
    async with running_stack(tmp_path_factory.mktemp("fragile")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def http(fragile: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=fragile.gateway_url, timeout=20) as client:
        yield client


async def listed(http: httpx.AsyncClient, namespace: str) -> list[dict[str, Any]]:
    """All entries by following cursors."""
    entries: list[dict[str, Any]] = []
    params: dict[str, Any] = {"limit": 100}
    while True:
        path = f"/v2/namespaces/{namespace}/search-history"
        page = (await http.get(path, params=params)).raise_for_status().json()
        entries += page["entries"]
        if "next_cursor" not in page:
            return entries
        params["before"] = page["next_cursor"]


async def test_queries_are_answered_unchanged_while_searchlog_is_down(
    fragile: Stack, http: httpx.AsyncClient
) -> None:
    await write(fragile, "steady", ROWS)
    path = "/v2/namespaces/steady/query"
    before = (await http.post(path, json=QUERY)).json()["rows"]
    await fragile.kill_one("searchlog")
    for _ in range(20):
        answer = await http.post(path, json=QUERY)
        assert answer.status_code == 200
        assert answer.json()["rows"] == before
    refused = await http.get("/v2/namespaces/steady/search-history")
    assert (refused.status_code, refused.json()["error"]) == (503, "service_unavailable")
    await fragile.start_one("searchlog")

    async def logs_again() -> int:
        await http.post(path, json=QUERY, headers={"x-hevlayer-tags": "session:again"})
        answer = await http.get("/v2/namespaces/steady/search-history?tag=session:again")
        return len(answer.json().get("entries", []))

    await eventually(logs_again, lambda count: count > 0, seconds=30)


async def test_sigkill_of_searchlog_loses_no_acknowledged_entry_and_doubles_none(
    fragile: Stack, http: httpx.AsyncClient
) -> None:
    acknowledged: set[str] = set()

    async def record(stub: searchlog_pb2_grpc.SearchLogServiceAsyncStub, number: int) -> None:
        records = [
            pb.SearchRecord(namespace="killed", raw_query=f"{number}-{at}") for at in range(10)
        ]
        request = pb.RecordSearchesRequest(searches=records, ack_level=pb.ACK_LEVEL_FSYNCED)
        async for answer in stub.RecordSearches(iter([request])):
            if answer.accepted == len(records):
                acknowledged.update(r.raw_query for r in records)

    async with grpc.aio.insecure_channel(f"127.0.0.1:{fragile.port('searchlog')}") as channel:
        stub = searchlog_pb2_grpc.SearchLogServiceStub(channel)
        tasks = [asyncio.create_task(record(stub, number)) for number in range(300)]

        async def count() -> int:
            return len(acknowledged)

        await eventually(count, lambda count: count >= 500)
        await fragile.kill_one("searchlog")
        await asyncio.gather(*tasks, return_exceptions=True)
    assert acknowledged
    await fragile.start_one("searchlog")

    async def found() -> list[str]:
        return [entry["raw_query"] for entry in await listed(http, "killed")]

    queries = await eventually(found, lambda found: acknowledged <= set(found), seconds=30)
    assert len(queries) == len(set(queries))


async def test_sigkill_of_each_process_keeps_what_was_acknowledged(
    fragile: Stack, http: httpx.AsyncClient
) -> None:
    await write(fragile, "kept", ROWS)
    done = await snapshot_of(http, "kept", field="color", source="origin")
    policy = {"facetFields": ["color"], "interval": "1h", "retention": "7d"}
    await http.put("/v2/namespaces/kept/snapshot-policy", json=policy)
    for name in ("devstore", "snapshot", "history", "document", "gateway"):
        await fragile.kill_one(name)
        await fragile.start_one(name)

    async def back() -> int:
        return (await http.get("/v2/namespaces/kept/history")).status_code

    await eventually(back, lambda status: status == 200, seconds=30)
    body = await http.get(f"/v2/namespaces/kept/snapshots/{done['sha']}")
    assert body.json()["row_count"] == len(ROWS)
    assert (await http.get("/v2/namespaces/kept/snapshot-policy")).json() == policy
    rows = (await http.post("/v2/namespaces/kept/query", json=QUERY)).json()["rows"]
    assert [row["id"] for row in rows] == [1, 2, 3]
    again = await snapshot_of(http, "kept", field="color")
    assert again["effective_source"] == "stored"
