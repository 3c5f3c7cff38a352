"""Queries through the gateway: unchanged, and each a line of the trail."""

from __future__ import annotations

import gzip
import json
import re
from typing import Any

import httpx
import pytest

from services.cli.stack import Stack
from tests.e2e.stacks import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")

TRACE = "f81d4fae7dec11d0a76500a0c91e6bf6"
TRACEPARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


async def entries(http: httpx.AsyncClient, namespace: str, **params: Any) -> list[dict[str, Any]]:
    answer = await http.get(f"/v2/namespaces/{namespace}/search-history", params=params)
    found: list[dict[str, Any]] = answer.raise_for_status().json()["entries"]
    return found


async def logged(http: httpx.AsyncClient, namespace: str, tag: str) -> dict[str, Any]:
    """The one entry with a tag, once it is there."""
    found = await eventually(lambda: entries(http, namespace, tag=tag), lambda e: len(e) > 0)
    assert len(found) == 1
    return found[0]


async def test_a_bm25_query_is_answered_and_logged(http: httpx.AsyncClient, products: str) -> None:
    query = {
        "rank_by": ["title", "BM25", "wireless headphones"],
        "top_k": 3,
        "filters": ["color", "Eq", "red"],
        "include_attributes": ["title"],
    }
    headers = {
        "traceparent": TRACEPARENT,
        "x-hevlayer-tags": "session:bm25,ab:b",
        "x-hevlayer-tag": "one",
    }
    answer = await http.post(f"/v2/namespaces/{products}/query", json=query, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["traceparent"].split("-")[1] == TRACE
    entry = await logged(http, products, "session:bm25")
    assert {
        "timestamp",
        "timestamp_nanos",
        "namespace",
        "trace_id",
        "raw_query",
        "query",
        "top_result_ids",
        "tags",
    } <= set(entry)
    assert entry["namespace"] == products
    assert entry["trace_id"] == TRACE
    assert entry["raw_query"] == "wireless headphones"
    assert entry["query"] == query
    assert entry["top_result_ids"] == [str(row["id"]) for row in answer.json()["rows"]]
    assert entry["tags"] == ["ab:b", "one", "session:bm25"]
    assert isinstance(entry["timestamp_nanos"], int)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry["timestamp"])


async def test_a_vector_is_logged_as_its_shape(http: httpx.AsyncClient, products: str) -> None:
    query = {"rank_by": ["vector", "ANN", [1.0, 1.0, 0.5, 0.25]], "top_k": 2}
    headers = {"x-hevlayer-tags": "session:vector"}
    answer = await http.post(f"/v1/namespaces/{products}/query", json=query, headers=headers)
    assert answer.status_code == 200
    entry = await logged(http, products, "session:vector")
    assert entry["query"]["rank_by"] == ["vector", "ANN", "f32[4]"]
    assert "raw_query" not in entry
    minted = answer.headers["traceparent"].split("-")[1]
    assert entry["trace_id"] == minted
    assert re.fullmatch("[0-9a-f]{32}", minted)


async def test_answers_are_the_upstreams_byte_for_byte(
    stack: Stack, http: httpx.AsyncClient, products: str
) -> None:
    query = {"rank_by": ["id", "asc"], "top_k": 50, "include_attributes": True}
    async with httpx.AsyncClient(base_url=stack.devstore_url) as upstream:
        path = f"/v2/namespaces/{products}/query"
        key = {"authorization": "Bearer any"}
        direct = await upstream.post(path, json=query, headers=key)
        through = await http.post(path, json=query)

    def timeless(content: bytes) -> bytes:
        """The answer without the times that the upstream measures anew for each query."""
        return re.sub(rb'"(\w+_ms)":\s*[0-9.e-]+', rb'"\1":0', content)

    assert timeless(through.content) == timeless(direct.content)
    assert len(through.json()["rows"]) == 50


async def test_compressed_requests_and_answers_are_logged(
    http: httpx.AsyncClient, products: str
) -> None:
    query = {"rank_by": ["title", "BM25", "green"], "top_k": 20, "include_attributes": True}
    headers = {
        "content-encoding": "gzip",
        "accept-encoding": "gzip",
        "content-type": "application/json",
        "x-hevlayer-tags": "session:gzip",
    }
    body = gzip.compress(json.dumps(query).encode())
    answer = await http.post(f"/v2/namespaces/{products}/query", content=body, headers=headers)
    assert answer.status_code == 200
    entry = await logged(http, products, "session:gzip")
    assert entry["raw_query"] == "green"
    assert entry["top_result_ids"] == [str(row["id"]) for row in answer.json()["rows"]]


async def test_only_served_queries_are_logged_and_bad_tags_fail_nothing(
    http: httpx.AsyncClient, products: str
) -> None:
    path = f"/v2/namespaces/{products}/query"
    refused = await http.post(
        path,
        json={"rank_by": ["nope", "asc"], "top_k": 1},
        headers={"x-hevlayer-tags": "session:refused"},
    )
    assert refused.status_code == 400
    tags = "session:good, not good,session:fine"
    served = await http.post(
        path, json={"rank_by": ["id", "asc"], "top_k": 1}, headers={"x-hevlayer-tags": tags}
    )
    assert served.status_code == 200
    assert (await logged(http, products, "session:good"))["tags"] == [
        "session:fine",
        "session:good",
    ]
    assert await entries(http, products, tag="session:refused") == []


async def test_following_cursors_visits_every_entry_once(
    http: httpx.AsyncClient, products: str
) -> None:
    for number in range(12):
        headers = {"x-hevlayer-tags": f"session:pages,n:{number}"}
        await http.post(
            f"/v2/namespaces/{products}/query",
            json={"rank_by": ["id", "asc"], "top_k": 1},
            headers=headers,
        )
    await eventually(lambda: entries(http, products, tag="session:pages"), lambda e: len(e) == 12)
    seen: list[int] = []
    params: dict[str, Any] = {"tag": "session:pages", "limit": 5}
    while True:
        page = (await http.get(f"/v1/namespaces/{products}/search-history", params=params)).json()
        seen += [entry["timestamp_nanos"] for entry in page["entries"]]
        if "next_cursor" not in page:
            break
        assert isinstance(page["next_cursor"], str)
        params["before"] = page["next_cursor"]
    assert len(seen) == len(set(seen)) == 12
    assert seen == sorted(seen, reverse=True)


async def test_a_traced_fetch_is_a_click_joined_by_its_trace(
    http: httpx.AsyncClient, products: str
) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    headers = {"traceparent": f"00-{trace}-b7ad6b7169203331-01", "x-hevlayer-tags": "session:click"}
    path = f"/v2/namespaces/{products}"
    await http.post(f"{path}/query", json={"rank_by": ["id", "asc"], "top_k": 1}, headers=headers)
    one = await http.get(f"{path}/documents/7", headers=headers)
    assert one.json()["id"] == "7"
    await http.post(f"{path}/documents", json={"ids": ["8", "nope", "9"]}, headers=headers)
    await http.get(f"{path}/documents/10")

    async def clicks() -> list[dict[str, Any]]:
        answer = await http.get(f"{path}/clickstream", params={"trace_id": trace})
        events: list[dict[str, Any]] = answer.raise_for_status().json()["events"]
        return events

    events = await eventually(clicks, lambda events: len(events) == 3)
    assert {event["doc_id"] for event in events} == {"7", "8", "9"}
    assert set(events[0]) == {
        "timestamp", "timestamp_nanos", "trace_id", "namespace", "doc_id", "tags", "source",
        "served_from",
    }  # fmt: skip
    assert {(e["source"], e["served_from"], tuple(e["tags"])) for e in events} == {
        ("fetch", "upstream", ("session:click",))
    }
    search = await logged(http, products, "session:click")
    assert search["trace_id"] == trace
    everything = (await http.get(f"{path}/clickstream")).json()["events"]
    assert "10" not in {event["doc_id"] for event in everything}


async def test_a_namespace_without_searches_answers_empty(http: httpx.AsyncClient) -> None:
    for version in ("v1", "v2"):
        base = f"/{version}/namespaces/quiet"
        assert (await http.get(f"{base}/search-history")).json() == {"entries": []}
        assert (await http.get(f"{base}/clickstream")).json() == {"events": []}
