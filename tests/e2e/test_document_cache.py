"""The document cache through Envoy: what is served from where, and never an old document."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from services.cli.stack import Stack
from tests.e2e.conftest import write
from tests.e2e.stacks import eventually, snapshot_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def fetch(http: httpx.AsyncClient, namespace: str, doc_id: str = "1") -> httpx.Response:
    return await http.get(f"/v2/namespaces/{namespace}/documents/{quote(doc_id, safe='')}")


async def cached(http: httpx.AsyncClient, namespace: str, doc_id: str = "1") -> httpx.Response:
    """The fetch of a document, once it comes from the cache."""

    async def read() -> httpx.Response:
        return await fetch(http, namespace, doc_id)

    return await eventually(read, lambda answer: answer.headers.get("x-layer-cache") == "hit")


async def test_the_second_fetch_is_a_hit(stack: Stack, http: httpx.AsyncClient) -> None:
    await write(stack, "hits", [{"id": 1, "color": "red", "vector": [1.0, 2.0]}])
    first = await fetch(http, "hits")
    assert first.headers["x-layer-cache"] == "miss"
    second = await cached(http, "hits")
    assert second.json() == first.json() == {"id": "1", "attributes": {"color": "red"}}


async def test_attributes_are_chosen_from_the_cached_document(
    stack: Stack, http: httpx.AsyncClient
) -> None:
    await write(stack, "chosen", [{"id": 1, "color": "red", "size": 3}, {"id": 2, "shape": "o"}])
    await cached(http, "chosen")
    path = "/v2/namespaces/chosen/documents/1"
    some = await http.get(path, params={"include_attributes": "size,shape"})
    assert some.headers["x-layer-cache"] == "hit"
    assert some.json() == {"id": "1", "attributes": {"size": 3}}
    unknown = await http.get(path, params={"include_attributes": "no-such"})
    assert (unknown.status_code, unknown.json()["error"]) == (422, "validation_error")


async def test_a_batch_may_come_from_both(stack: Stack, http: httpx.AsyncClient) -> None:
    await write(stack, "both", [{"id": n, "n": n} for n in range(1, 31)])
    await cached(http, "both", "1")
    answer = await http.post("/v2/namespaces/both/documents", json={"ids": ["2", "1", "99"]})
    assert answer.headers["x-layer-cache"] == "partial"
    assert answer.json() == {
        "documents": [{"id": "2", "attributes": {"n": 2}}, {"id": "1", "attributes": {"n": 1}}],
        "missing": ["99"],
    }
    everything = {"ids": [str(n) for n in range(1, 31)]}

    async def whole() -> httpx.Response:
        return await http.post("/v2/namespaces/both/documents", json=everything)

    hit = await eventually(whole, lambda answer: answer.headers["x-layer-cache"] == "hit")
    assert [document["id"] for document in hit.json()["documents"]] == everything["ids"]


@pytest.mark.parametrize("text", ["a/b", "a b", "100%", "ä", "a%2Fb", "12", "?q=1#x", "x" * 64])
async def test_odd_ids_are_cached(stack: Stack, http: httpx.AsyncClient, text: str) -> None:
    await write(stack, "odd-cached", [{"id": text, "n": 1}])
    assert (await cached(http, "odd-cached", text)).json() == {"id": text, "attributes": {"n": 1}}


async def test_what_is_cached_is_exact(stack: Stack, http: httpx.AsyncClient) -> None:
    row = {"id": 2**63 + 1, "n": 2**53 + 1, "f": 0.1, "l": ["a", "b"], "t": "\u2028\U0001f600"}
    await write(stack, "exact", [row])
    first = await fetch(http, "exact", str(2**63 + 1))
    assert first.json()["attributes"]["n"] == str(2**53 + 1)
    assert (await cached(http, "exact", str(2**63 + 1))).content == first.content


async def test_no_write_leaves_an_old_document(stack: Stack, http: httpx.AsyncClient) -> None:
    """Each kind of write, seen by the very next fetch, which would be a hit otherwise."""
    ns = "/v2/namespaces/fresh"

    async def value() -> Any:
        answer = await fetch(http, "fresh")
        return answer.json()["attributes"]["n"] if answer.status_code == 200 else answer.status_code

    writes: list[tuple[str, dict[str, Any], Any]] = [
        ("/v2", {"upsert_rows": [{"id": 1, "n": 1, "g": "a"}]}, 1),
        ("/v2", {"patch_rows": [{"id": 1, "n": 2}]}, 2),
        ("/v1", {"upsert_rows": [{"id": 1, "n": 3, "g": "a"}]}, 3),
        ("/v2", {"patch_by_filter": {"filters": ["g", "Eq", "a"], "patch": {"n": 4}}}, 4),
        ("/v2", {"delete_by_filter": ["g", "Eq", "a"]}, 404),
        ("/v2", {"upsert_rows": [{"id": 1, "n": 5, "g": "b"}]}, 5),
        ("/v2", {"deletes": [1]}, 404),
        ("/v2", {"upsert_rows": [{"id": 1, "n": 6, "g": "b"}]}, 6),
    ]
    for version, body, expected in writes:
        answer = await http.post(ns.replace("/v2", version), json=body)
        assert answer.status_code == 200, answer.text
        assert await value() == expected, body
        if expected != 404:
            await cached(http, "fresh")
    assert (await http.delete(ns)).status_code == 200
    assert await value() == 404
    await http.post(ns, json={"upsert_rows": [{"id": "1", "n": 7}]})
    assert await value() == 7, "made anew with ids of another type"


async def test_readers_beside_a_writer_never_go_back(stack: Stack, http: httpx.AsyncClient) -> None:
    """Readers that start after a write's answer see it, whatever runs at the same time."""
    await write(stack, "racing", [{"id": 1, "n": 0}])
    acknowledged = 0
    done = False

    async def read() -> int:
        hits = 0
        while not done:
            least = acknowledged
            answer = await fetch(http, "racing")
            assert answer.json()["attributes"]["n"] >= least
            hits += answer.headers["x-layer-cache"] == "hit"
        return hits

    readers = [asyncio.create_task(read()) for _ in range(4)]
    for number in range(1, 31):
        body = {"upsert_rows": [{"id": 1, "n": number}]}
        assert (await http.post("/v2/namespaces/racing", json=body)).status_code == 200
        acknowledged = number
        if number % 5 == 0:
            await cached(http, "racing")
    done = True
    assert sum(await asyncio.gather(*readers)) > 0, "the cache was never used"


async def test_concurrent_misses_ask_the_upstream_once(
    stack: Stack, http: httpx.AsyncClient
) -> None:
    await write(stack, "herd", [{"id": 1, "n": 1}, {"id": 2, "n": 2}])
    await cached(http, "herd", "2")
    async with httpx.AsyncClient(base_url=stack.devstore_url) as devstore:
        await devstore.put("/dev/v1/namespaces/herd/behaviour", json={"delay_ms": 300})
        before = (await devstore.get("/dev/v1/requests")).json()["query"]
        answers = await asyncio.gather(*(fetch(http, "herd") for _ in range(20)))
        after = (await devstore.get("/dev/v1/requests")).json()["query"]
        await devstore.delete("/dev/v1/namespaces/herd/behaviour")
    assert {answer.json()["attributes"]["n"] for answer in answers} == {1}
    assert after - before == 1


async def test_clicks_say_where_the_document_came_from(
    stack: Stack, http: httpx.AsyncClient
) -> None:
    await write(stack, "clicked", [{"id": 1, "n": 1}])
    headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
    path = "/v2/namespaces/clicked/documents/1"
    await http.get(path, headers=headers)
    await cached(http, "clicked")
    await http.get(path, headers=headers)

    async def clicks() -> list[str]:
        answer = await http.get(f"/v2/namespaces/clicked/clickstream?trace_id={TRACE}")
        return [event["served_from"] for event in answer.json()["events"]]

    assert await eventually(clicks, lambda clicks: len(clicks) == 2) == ["cache", "upstream"]


async def test_a_large_write_is_not_held_up(stack: Stack, http: httpx.AsyncClient) -> None:
    """A body beyond the gateway's own buffer limit passes, and is noticed."""
    await write(stack, "bulky", [{"id": 1, "n": 1}])
    await cached(http, "bulky")
    filler = "x" * 4000
    rows = [{"id": n, "n": 2, "text": filler} for n in range(1, 2001)]
    schema = {"text": {"type": "string", "filterable": False}}
    answer = await http.post(
        "/v2/namespaces/bulky", json={"upsert_rows": rows, "schema": schema}, timeout=60
    )
    assert answer.status_code == 200, answer.text
    assert (await fetch(http, "bulky")).json()["attributes"]["n"] == 2


async def warmed(http: httpx.AsyncClient, namespace: str, **parameters: int) -> dict[str, Any]:
    """A warm job from its start to its completion."""
    base = f"/v2/namespaces/{namespace}"
    started = await http.post(f"{base}/warm", params=parameters)
    assert started.status_code == 202, started.text
    assert started.json()["status"] == "running"
    path = f"{base}/warm-jobs/{started.json()['id']}"

    async def job() -> dict[str, Any]:
        answer: dict[str, Any] = (await http.get(path)).raise_for_status().json()
        return answer

    done = await eventually(job, lambda job: job["status"] != "running")
    assert done["status"] == "completed", done
    return done


async def test_a_warm_job_makes_every_document_a_hit(stack: Stack, http: httpx.AsyncClient) -> None:
    rows: list[dict[str, object]] = [{"id": f"doc/{n:03}", "n": n} for n in range(120)]
    await write(stack, "warmed", rows)
    base = "/v2/namespaces/warmed"
    done = await warmed(http, "warmed", page_size=50)
    assert (done["progress"], done["documents_scanned"]) == (1, 120)
    assert isinstance(done["stable_as_of"], int)
    listed = (await http.get(f"{base}/warm-jobs")).json()["warm_jobs"]
    assert [each["id"] for each in listed] == [done["id"]]
    body = {"ids": [str(row["id"]) for row in rows]}
    answer = await http.post(f"{base}/documents", json=body)
    assert answer.headers["x-layer-cache"] == "hit"
    assert [document["attributes"]["n"] for document in answer.json()["documents"]] == [
        row["n"] for row in rows
    ]
    refused = await http.post(f"{base}/warm?page_size=0")
    assert (refused.status_code, refused.json()["error"]) == (422, "validation_error")
    absent = await http.get(f"{base}/warm-jobs/none")
    assert absent.status_code == 404


async def scan_of(http: httpx.AsyncClient, namespace: str, **body: Any) -> dict[str, Any]:
    """A completed values scan, with its results as `values`."""
    base = f"/v2/namespaces/{namespace}/scans"
    started = await http.post(base, json={"mode": "values", **body})
    assert started.status_code == 202, started.text
    path = f"{base}/{started.json()['id']}"

    async def job() -> dict[str, Any]:
        answer: dict[str, Any] = (await http.get(path)).raise_for_status().json()
        return answer

    done = await eventually(job, lambda job: job["status"] != "running")
    assert done["status"] == "completed", done
    results = (await http.get(f"{path}/results", params={"limit": 10_000})).json()
    return {**done, "values": results["values"]}


async def test_a_warm_namespace_is_scanned_from_the_cache(
    stack: Stack, http: httpx.AsyncClient
) -> None:
    rows: list[dict[str, object]] = [
        {"id": n, "sku": f"sku-{n % 1800}", "tags": ["a", "b"][: n % 3]} for n in range(1, 2501)
    ]
    await write(stack, "scanned", rows)
    base = "/v2/namespaces/scanned"
    values = {"mode": "values", "field": "sku", "source": "cache"}
    for body in (values, {"mode": "count", "source": "cache"}):
        cold = await http.post(f"{base}/scans", json=body)
        assert (cold.status_code, cold.json()["error"]) == (503, "cache_cold")
    await warmed(http, "scanned")
    filters = ["tags", "Contains", "b"]
    for asked in ({"field": "sku"}, {"field": "tags"}, {"field": "sku", "filters": filters}):
        cache = await scan_of(http, "scanned", source="cache", **asked)
        origin = await scan_of(http, "scanned", source="origin", **asked)
        assert (cache["effective_source"], origin["effective_source"]) == ("cache", "origin")
        same = ("values", "unique_values", "documents_scanned", "truncated", "progress")
        assert [cache[name] for name in same] == [origin[name] for name in same]
        assert cache["stable_as_of"] < origin["stable_as_of"]
        counted = {
            source: (
                await http.post(
                    f"{base}/scans",
                    json={"mode": "count", "source": source, "filters": asked.get("filters")},
                )
            ).json()
            for source in ("cache", "origin", "auto")
        }
        assert {answer["count"] for answer in counted.values()} == {cache["documents_scanned"]}
        assert counted["cache"]["served_by"] == counted["auto"]["served_by"] == "cache"
        assert counted["cache"]["watermark_ms"] == cache["stable_as_of"]
    assert (await scan_of(http, "scanned", field="sku"))["effective_source"] == "cache"
    for body in (values, {"mode": "count", "source": "cache"}):
        refused = await http.post(f"{base}/scans", json={**body, "filters": ["sku", "Regex", "x"]})
        assert (refused.status_code, refused.json()["error"]) == (422, "validation_error")
    await http.post(base, json={"deletes": [1]})
    again = await http.post(f"{base}/scans", json=values)
    assert (again.status_code, again.json()["error"]) == (503, "cache_cold")
    assert (await scan_of(http, "scanned", field="sku"))["effective_source"] == "origin"


async def test_a_warm_namespace_is_counted_from_the_cache(
    stack: Stack, http: httpx.AsyncClient
) -> None:
    rows: list[dict[str, object]] = [
        {"id": n, "color": ["red", "blue", "ä"][n % 3], "n": n} for n in range(1, 2501)
    ]
    await write(stack, "counted", rows)
    base = "/v2/namespaces/counted"
    cold = await http.post(f"{base}/snapshots", json={"field": "color", "source": "cache"})
    assert (cold.status_code, cold.json()["error"]) == (503, "cache_cold")
    await warmed(http, "counted")
    filters = ["n", "Lte", 1000]
    for asked in ({"field": "color"}, {"field": "color", "filters": filters}):
        cache = await snapshot_of(http, "counted", source="cache", **asked)
        origin = await snapshot_of(http, "counted", source="origin", **asked)
        assert (cache["status"], cache["effective_source"]) == ("completed", "cache"), cache
        assert cache["sha"] == origin["sha"]
    auto = await snapshot_of(http, "counted", field="n", filters=filters)
    assert auto["effective_source"] == "cache"
    refused = await http.post(
        f"{base}/snapshots",
        json={"field": "color", "source": "cache", "filters": ["color", "Regex", "r.*"]},
    )
    assert (refused.status_code, refused.json()["error"]) == (422, "validation_error")
    await http.post(base, json={"patch_rows": [{"id": 1, "color": "green"}]})
    again = await http.post(f"{base}/snapshots", json={"field": "color", "source": "cache"})
    assert (again.status_code, again.json()["error"]) == (503, "cache_cold")
