"""Scans over plain HTTP and by the published client."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from hevlayer import AsyncHevlayer

from services.cli.stack import Stack
from tests.e2e.conftest import write
from tests.e2e.stacks import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_values_scan_from_start_to_results(http: httpx.AsyncClient, products: str) -> None:
    base = f"/v2/namespaces/{products}/scans"
    body = {"mode": "values", "field": "tags", "source": "origin", "page_size": 10, "threads": 2}
    started = await http.post(base, json=body)
    assert started.status_code == 202
    assert set(started.json()) == {
        "id", "namespace", "status", "progress", "documents_scanned", "created_at", "mode",
        "field", "source",
    }  # fmt: skip
    path = f"{base}/{started.json()['id']}"

    async def job() -> dict[str, Any]:
        answer: dict[str, Any] = (await http.get(path)).json()
        return answer

    done = await eventually(job, lambda job: job["status"] != "running")
    assert (done["status"], done["unique_values"], done["truncated"]) == ("completed", 3, False)
    assert (done["effective_source"], done["documents_scanned"]) == ("origin", 60)
    results = (await http.get(f"{path}/results", params={"limit": 2})).json()
    assert results == {
        "values": [{"v": "a", "n": 45}, {"v": "b", "n": 30}],
        "total": 3,
        "truncated": False,
    }
    rest = (await http.get(f"{path}/results", params={"offset": 2})).json()
    assert rest["values"] == [{"v": "c", "n": 15}]
    assert done["id"] in [scan["id"] for scan in (await http.get(base)).json()["scans"]]
    assert (await http.delete(path)).json() == {"status": "ok"}
    assert (await http.get(path)).status_code == 404


async def test_more_values_than_a_snapshot_may_have(stack: Stack, http: httpx.AsyncClient) -> None:
    rows: list[dict[str, object]] = [{"id": n, "sku": f"sku-{n}"} for n in range(12_345)]
    await write(stack, "many-values", rows)
    async with AsyncHevlayer(base_url=stack.gateway_url) as client:
        done: Any = await client.scan("many-values", {"mode": "values", "field": "sku"})
        assert (done.status, done.unique_values) == ("completed", 12_345)
        page: Any = await client.get_scan_results("many-values", done.id, limit=10_000, offset=5)
        assert (len(page.values), page.total, page.truncated) == (10_000, 12_345, False)
        counted: Any = await client.create_scan("many-values", {"mode": "count"})
        assert (counted.count, counted.served_by) == (12_345, "origin")


async def test_a_count_answers_at_once(http: httpx.AsyncClient, products: str) -> None:
    body = {"mode": "count", "source": "origin", "filters": ["color", "Eq", "red"]}
    answer = await http.post(f"/v2/namespaces/{products}/scans", json=body)
    assert answer.status_code == 200
    assert set(answer.json()) == {"count", "served_by", "watermark_ms", "elapsed_ms"}
    assert (answer.json()["count"], answer.json()["served_by"]) == (20, "origin")


@pytest.mark.parametrize(
    "body",
    [
        {"mode": "ids"},
        {"mode": "values"},
        {"mode": "values", "field": "a", "threads": 33},
        {"mode": "values", "field": "a", "page_size": 0},
        {"mode": "values", "field": "a", "source": "moon"},
        {"mode": "count", "filters": ["a", "Near", 1]},
    ],
)
async def test_bad_requests(http: httpx.AsyncClient, body: dict[str, object]) -> None:
    answer = await http.post("/v2/namespaces/x/scans", json=body)
    assert (answer.status_code, answer.json()["error"]) == (422, "validation_error")
