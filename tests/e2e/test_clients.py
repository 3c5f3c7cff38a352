"""The published clients, unmodified, pointed at the gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from hevlayer import AsyncHevlayer, HevlayerError
from turbopuffer import AsyncTurbopuffer, NotFoundError

from services.cli.stack import Stack
from tests.e2e.stacks import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def hevlayer(stack: Stack) -> AsyncIterator[AsyncHevlayer]:
    async with AsyncHevlayer(base_url=stack.gateway_url) as client:
        yield client


async def test_snapshots(hevlayer: AsyncHevlayer, products: str) -> None:
    started: Any = await hevlayer.create_snapshot(products, {"field": "color", "source": "origin"})
    assert started.status == "running"

    async def job() -> Any:
        return await hevlayer.get_snapshot_job(products, started.id)

    done = await eventually(job, lambda job: job.status != "running")
    assert (done.status, done.effective_source, done.documents_scanned) == (
        "completed",
        "origin",
        60,
    )
    jobs: Any = await hevlayer.list_snapshot_jobs(products)
    assert started.id in [each.id for each in jobs.snapshot_jobs]
    history: Any = await hevlayer.list_namespace_history(products, limit=5)
    assert done.sha in [entry.sha for entry in history]
    body: Any = await hevlayer.get_namespace_snapshot(products, done.sha)
    assert (body.row_count, body.watermark_ms) == (60, done.stable_as_of)
    assert [(v.v, v.n) for v in body.fields[0].values] == [("blue", 20), ("green", 20), ("red", 20)]
    activity: Any = await hevlayer.list_snapshot_activity(since=0, namespace=products)
    assert done.sha in [event.sha for event in activity.events]


async def test_policy(hevlayer: AsyncHevlayer) -> None:
    policy = {"facetFields": ["a"], "interval": "10m", "retention": "30d"}
    put: Any = await hevlayer.put_snapshot_policy("policy-by-client", policy)
    got: Any = await hevlayer.get_snapshot_policy("policy-by-client")
    assert put.model_dump() == got.model_dump() == policy


async def test_searches_and_clicks(hevlayer: AsyncHevlayer, products: str) -> None:
    answer: Any = await hevlayer.query_namespace(
        products,
        {"rank_by": ["title", "BM25", "red"], "top_k": 2},
        raw_query="something red",
        tags=["session:hevlayer"],
    )
    assert len(answer.rows) == 2

    async def history() -> Any:
        return await hevlayer.list_search_history(products, tags=["session:hevlayer"])

    page = await eventually(history, lambda page: len(page.entries) == 1)
    assert page.entries[0].raw_query == "something red"
    assert page.entries[0].top_result_ids == [str(row["id"]) for row in answer.rows]
    clicks: Any = await hevlayer.list_clickstream(products, trace_id=page.entries[0].trace_id)
    assert clicks.events == []


async def test_documents_and_metadata(hevlayer: AsyncHevlayer, products: str) -> None:
    one: Any = await hevlayer.fetch_document(products, "1", include_attributes=["color", "size"])
    assert one.attributes == {"color": "green", "size": 1}
    many: Any = await hevlayer.fetch_documents(products, {"ids": ["1", "404"]})
    assert ([d.id for d in many.documents], many.missing) == (["1"], ["404"])
    metadata: Any = await hevlayer.get_namespace_metadata(products)
    assert metadata.layer.is_stable


async def test_the_clients_errors(hevlayer: AsyncHevlayer, products: str) -> None:
    with pytest.raises(HevlayerError) as failed:
        await hevlayer.get_namespace_snapshot(products, "0" * 64)
    assert (failed.value.status_code, failed.value.error) == (404, "not_found")


async def test_the_official_turbopuffer_sdk(stack: Stack) -> None:
    async with AsyncTurbopuffer(base_url=stack.gateway_url, api_key="callers-own") as client:
        namespace = client.namespace("by-sdk")
        rows: list[Any] = [
            {"id": n, "vector": [float(n), 1.0], "kind": "odd" if n % 2 else "even"}
            for n in range(1, 9)
        ]
        written = await namespace.write(upsert_rows=rows, distance_metric="euclidean_squared")
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
        assert (await namespace.metadata()).index.status == "up-to-date"
        assert "by-sdk" in [each.id async for each in client.namespaces(prefix="by-")]
        assert await namespace.exists()
        await namespace.delete_all()
        with pytest.raises(NotFoundError):
            await namespace.query(rank_by=("id", "asc"), top_k=1)
