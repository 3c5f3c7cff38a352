"""Turbopuffer's official Python SDK, unmodified, pointed at the gateway: all of its operations."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from turbopuffer import AsyncTurbopuffer, BadRequestError, NotFoundError, Turbopuffer
from turbopuffer.types import RrfParams

from services.cli.stack import Stack

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def client(stack: Stack) -> AsyncIterator[AsyncTurbopuffer]:
    async with AsyncTurbopuffer(base_url=stack.gateway_url, api_key="callers-own") as client:
        yield client


def rows(count: int) -> list[Any]:
    return [
        {"id": n, "vector": [float(n), 1.0], "kind": "odd" if n % 2 else "even", "text": f"no {n}"}
        for n in range(1, count + 1)
    ]


async def test_writes_and_queries(client: AsyncTurbopuffer) -> None:
    namespace = client.namespace("by-sdk")
    written = await namespace.write(
        upsert_rows=rows(8),
        distance_metric="euclidean_squared",
        schema={"text": {"type": "string", "full_text_search": {"k1": 1.1, "b": 0.6}}},
    )
    assert written.rows_affected == 8
    found = await namespace.query(rank_by=("vector", "ANN", [3.0, 1.0]), top_k=1)
    assert found.rows is not None
    assert found.rows[0].id == 3
    both = await namespace.multi_query(
        queries=[
            {"rank_by": ("id", "asc"), "top_k": 2},
            {"aggregate_by": {"n": ("Count",)}, "group_by": ["kind"], "top_k": 10},
        ]
    )
    assert len(both.results) == 2
    fused = await namespace.multi_query(
        queries=[
            {"rank_by": ("vector", "ANN", [3.0, 1.0]), "top_k": 3},
            {"rank_by": ("text", "BM25", "4"), "top_k": 3},
        ],
        rerank_by=("RRF", RrfParams(rank_constant=10)),
        limit=2,
    )
    (only,) = fused.results
    assert only.rows is not None
    assert [row.id for row in only.rows] == [4, 3]
    raced = await namespace.write(
        upsert_columns={"id": [1, 99], "vector": [[0, 0], [0, 0]]},
        upsert_condition=("id", "Eq", None),
        deletes=[2],
        delete_condition=("kind", "Eq", "odd"),
        return_affected_ids=True,
    )
    assert (raced.upserted_ids, raced.rows_deleted) == ([99], 0)
    plan = await namespace.explain_query(rank_by=("id", "asc"), top_k=1)
    assert plan.plan_text
    recall = await namespace.recall(num=2, top_k=3)
    assert recall.avg_recall == 1.0


async def test_the_life_of_a_namespace(client: AsyncTurbopuffer) -> None:
    namespace = client.namespace("life-source")
    assert not await namespace.exists()
    await namespace.write(upsert_rows=rows(3), distance_metric="cosine_distance")
    assert (await namespace.metadata()).index.status == "up-to-date"
    assert (await namespace.hint_cache_warm()).status == "ACCEPTED"
    assert (await namespace.schema())["kind"].type == "string"
    updated = await namespace.update_schema(
        schema={"kind": {"type": "string", "filterable": False}}
    )
    assert updated["kind"].filterable is False
    await namespace.update_metadata(read_only=True)
    with pytest.raises(BadRequestError, match="read-only"):
        await namespace.write(deletes=[1])
    await client.namespace("life-copied").copy_from(source_namespace="life-source")
    await client.namespace("life-branched").branch_from(source_namespace="life-source")
    started = await client.namespace("life-started").start_copy_from(source_namespace="life-source")
    polled = await client.namespace("life-started").poll_copy_from(started.token)
    assert polled.status == "finished"
    names = {each.id async for each in client.namespaces(prefix="life-", page_size=2)}
    assert names == {"life-source", "life-copied", "life-branched", "life-started"}
    for name in names:
        await client.namespace(name).delete_all()
    with pytest.raises(NotFoundError):
        await namespace.query(rank_by=("id", "asc"), top_k=1)
    with pytest.raises(NotFoundError):
        await namespace.metadata()


async def test_compressed_requests_and_answers(stack: Stack) -> None:
    with Turbopuffer(base_url=stack.gateway_url, api_key="x", compression=True) as client:
        namespace = client.namespace("sdk-compressed")
        written: list[Any] = [{"id": n, "text": f"row {n} " * 50} for n in range(300)]
        namespace.write(
            upsert_rows=written, schema={"text": {"type": "string", "filterable": False}}
        )
        found = namespace.query(rank_by=("id", "asc"), limit=300, include_attributes=True).rows
    assert found is not None
    assert [{"id": row.id, "text": row["text"]} for row in found] == written
