"""The published hevlayer client, unmodified, pointed at the gateway: every route of ours and
every one of Turbopuffer's that it has a method for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from hevlayer import AsyncHevlayer, HevlayerError
from hevlayer.models import CreateScanRequest, QueryRequest

from services.cli.stack import Stack
from tests.e2e.conftest import ROWS, write
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


async def test_scans(hevlayer: AsyncHevlayer, products: str) -> None:
    done: Any = await hevlayer.scan(
        products, CreateScanRequest(mode="values", field="color", source="origin")
    )
    assert (done.status, done.unique_values) == ("completed", 3)
    results: Any = await hevlayer.get_scan_results(products, done.id, limit=2, offset=1)
    assert (len(results.values), results.total) == (2, 3)
    listed: Any = await hevlayer.list_scans(products)
    assert done.id in [each.id for each in listed.scans]
    counted: Any = await hevlayer.create_scan(
        products, CreateScanRequest(mode="count", source="origin")
    )
    assert (counted.count, counted.served_by) == (60, "origin")
    deleted: Any = await hevlayer.delete_scan(products, done.id)
    assert deleted.status == "ok"
    with pytest.raises(HevlayerError) as gone:
        await hevlayer.get_scan(products, done.id)
    assert gone.value.status_code == 404


async def test_warming(stack: Stack, hevlayer: AsyncHevlayer) -> None:
    name = "warmed-by-client"
    await write(stack, name, ROWS)
    started: Any = await hevlayer.warm_namespace(name, page_size=10)

    async def job() -> Any:
        return await hevlayer.get_warm_job(name, started.id)

    done = await eventually(job, lambda job: job.status != "running")
    assert (done.status, done.documents_scanned) == ("completed", 60)
    listed: Any = await hevlayer.list_warm_jobs(name)
    assert started.id in [each.id for each in listed.warm_jobs]
    fetched: Any = await hevlayer.fetch_document(name, "2", with_perf=True)
    assert (fetched.data.id, fetched.perf.cache_status) == ("2", "hit")


VECTOR = [1.0, 1.0, 0.5, 0.25]
OWN_FORMS: dict[str, Any] = {
    # The client's model fills in what it has defaults for; it has no rank_by of its own.
    "a model": QueryRequest(
        vector=VECTOR, filters=["color", "Eq", "red"], include_attributes=["color"]
    ),
    "a dictionary": {"vector": VECTOR, "top_k": 3, "include_attributes": True},
    "text": QueryRequest(rank_by=["title", "BM25", "red"], top_k=3),
}


@pytest.mark.parametrize("form", OWN_FORMS)
async def test_its_own_form_of_queries_is_served_and_logged(
    hevlayer: AsyncHevlayer, products: str, form: str
) -> None:
    body, tag = OWN_FORMS[form], f"form:{form.replace(' ', '-')}"
    answer: Any = await hevlayer.query_namespace(
        products, body, raw_query="what the user typed", tags=[tag]
    )
    assert answer.rows

    async def history() -> Any:
        return await hevlayer.list_search_history(products, tags=[tag])

    (entry,) = (await eventually(history, lambda page: len(page.entries) == 1)).entries
    assert entry.raw_query == "what the user typed"
    assert entry.top_result_ids == [str(row["id"]) for row in answer.rows]
    asked = body if isinstance(body, dict) else body.model_dump(exclude_none=True)
    assert entry.query["top_k"] == asked["top_k"]
    assert entry.query.get("vector") == ("f32[4]" if "vector" in asked else None)
    for name in ("filters", "include_attributes", "rank_by"):
        assert entry.query.get(name) == asked.get(name)


async def test_turbopuffers_own_routes(hevlayer: AsyncHevlayer) -> None:
    name = "by-hevlayer"
    rows = [{"id": str(n), "vector": [n, 1.0], "kind": "ab"[n % 2]} for n in range(1, 5)]
    written: Any = await hevlayer.write_namespace(
        name, {"upsert_rows": rows, "distance_metric": "cosine_distance"}
    )
    assert written.rows_upserted == 4
    patched: Any = await hevlayer.patch_columns(name, ["1", "2"], {"kind": ["c", "c"]})
    assert patched.rows_patched == 2
    by_v1: Any = await hevlayer.query_turbopuffer_namespace(
        name, {"rank_by": ["id", "asc"], "top_k": 2}
    )
    assert [row["id"] for row in by_v1.rows] == ["1", "2"]
    several: Any = await hevlayer.batch_query_namespace(
        name,
        {"queries": [{"rank_by": ["id", "asc"], "top_k": 1}, {"aggregate_by": {"n": ["Count"]}}]},
    )
    assert several.results[1].aggregations == {"n": 4}
    explained: Any = await hevlayer.explain_turbopuffer_query(
        name, {"rank_by": ["id", "asc"], "top_k": 1}
    )
    assert explained.plan_text
    recall: Any = await hevlayer.evaluate_turbopuffer_recall(name, {"num": 2, "top_k": 3})
    assert (recall.avg_recall, recall.avg_ann_count) == (1.0, 3.0)
    schema: Any = await hevlayer.get_turbopuffer_namespace_schema(name)
    assert schema.model_extra["kind"]["type"] == "string"
    unfilterable = {"kind": {"type": "string", "filterable": False}}
    updated: Any = await hevlayer.update_turbopuffer_namespace_schema(name, unfilterable)
    assert updated.model_extra["kind"]["filterable"] is False
    for read in (
        hevlayer.get_namespace_metadata,
        hevlayer.get_turbopuffer_v1_namespace_metadata,
    ):
        metadata: Any = await read(name)
        assert (metadata.id, metadata.approx_row_count) == (name, 4)
    await hevlayer.hint_cache_warm(name, turbopuffer=True)
    await hevlayer.copy_namespace("hevlayer-copy", {"copy_from_namespace": name})
    await hevlayer.branch_namespace("hevlayer-branch", {"branch_from_namespace": name})
    listed: Any = await hevlayer.list_turbopuffer_namespaces(prefix="hevlayer-", page_size=10)
    assert [each.id for each in listed.namespaces] == ["hevlayer-branch", "hevlayer-copy"]
    deleted: Any = await hevlayer.delete_namespace("hevlayer-copy")
    assert deleted.status == "OK"
