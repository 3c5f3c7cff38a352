"""Every form of a served query becomes an entry, whatever its body and its protocol."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import h2.connection
import h2.events
import httpx
import pytest

from services.cli.stack import Stack
from tests.e2e.conftest import write
from tests.e2e.stacks import eventually
from tests.e2e.test_search_history import logged

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def ask(
    http: httpx.AsyncClient,
    namespace: str,
    tag: str,
    query: dict[str, Any],
    *,
    version: str = "v2",
    encoding: str = "gzip",
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Send a query; its answer and its entry."""
    headers = {"x-hevlayer-tags": tag, "accept-encoding": encoding}
    path = f"/{version}/namespaces/{namespace}/query"
    answer = await http.post(path, json=query, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json(), await logged(http, namespace, tag)


async def test_an_aggregation(http: httpx.AsyncClient, products: str) -> None:
    query = {"aggregate_by": {"n": ["Count"]}, "group_by": ["color"], "top_k": 10}
    _, entry = await ask(http, products, "tap:aggregation", query)
    assert entry["query"] == query
    assert entry["top_result_ids"] == []
    assert "raw_query" not in entry


async def test_several_queries_in_one(http: httpx.AsyncClient, products: str) -> None:
    query = {
        "queries": [
            {"rank_by": ["vector", "ANN", [1.0, 1.0, 0.5, 0.25]], "top_k": 2},
            {"rank_by": ["title", "BM25", "blue"], "limit": 3, "filters": ["size", "Lt", 4]},
        ]
    }
    answer, entry = await ask(http, products, "tap:multi", query)
    assert entry["query"]["queries"][0]["rank_by"] == ["vector", "ANN", "f32[4]"]
    assert entry["query"]["queries"][1] == query["queries"][1]
    assert entry["raw_query"] == "blue"
    found = [str(row["id"]) for result in answer["results"] for row in result["rows"]]
    assert entry["top_result_ids"] == found


async def test_nothing_found(http: httpx.AsyncClient, products: str) -> None:
    query = {"rank_by": ["id", "asc"], "top_k": 5, "filters": ["color", "Eq", "mauve"]}
    _, entry = await ask(http, products, "tap:empty", query, version="v1")
    assert (entry["top_result_ids"], entry["result_count"]) == ([], 0)


async def test_a_request_beyond_the_capture(http: httpx.AsyncClient, products: str) -> None:
    many = [f"no such id {n}" for n in range(8_000)]
    query = {"rank_by": ["title", "BM25", "red"], "top_k": 2, "filters": ["color", "In", many]}
    assert len(json.dumps(query)) > 2 * 64 * 1024
    answer, entry = await ask(http, products, "tap:long-request", query)
    assert answer["rows"] == []
    assert entry["top_result_ids"] == []
    assert entry["namespace"] == products


async def test_a_vector_beyond_what_is_shipped(stack: Stack, http: httpx.AsyncClient) -> None:
    vector = [n / 7 for n in range(4_096)]
    await write(stack, "embeddings", [{"id": 1, "vector": vector, "title": "{}"}])
    query = {"rank_by": ["vector", "ANN", vector], "top_k": 1, "include_attributes": ["title"]}
    assert len(json.dumps(query)) > 64 * 1024
    answer, entry = await ask(http, "embeddings", "tap:vector", query, encoding="identity")
    assert answer["rows"][0]["title"] == "{}"
    assert entry["query"] == {
        "vector": "f32[4096]",
        "rank_by": ["vector", "ANN", "f32[4096]"],
        "top_k": 1,
        "include_attributes": ["title"],
    }
    assert (entry["top_result_ids"], entry["result_count"]) == (["1"], 1)


async def test_an_answer_beyond_the_capture(stack: Stack, http: httpx.AsyncClient) -> None:
    rows: list[dict[str, object]] = [{"id": n, "text": f"{n} " + "x" * 2000} for n in range(200)]
    await write(stack, "long-answers", rows)
    query = {"rank_by": ["id", "asc"], "top_k": 200, "include_attributes": True}
    packed, whole = await ask(http, "long-answers", "tap:packed", query)
    assert (len(packed["rows"]), whole["result_count"]) == (200, 200)
    answer, entry = await ask(http, "long-answers", "tap:long", query, encoding="identity")
    assert len(answer["rows"]) == 200
    ids = entry["top_result_ids"]
    # As many as the captured 64 KiB hold, in order, and none made up.
    assert 20 < len(ids) <= 100
    assert ids == [str(n) for n in range(len(ids))]
    assert "result_count" not in entry


async def test_more_results_than_are_kept(stack: Stack, http: httpx.AsyncClient) -> None:
    await write(stack, "many-results", [{"id": n, "n": n} for n in range(150)])
    query = {"rank_by": ["id", "asc"], "top_k": 150}
    _, entry = await ask(http, "many-results", "tap:many", query)
    assert entry["top_result_ids"] == [str(n) for n in range(100)]
    assert entry["result_count"] == 150


async def test_a_chunked_request(http: httpx.AsyncClient, products: str) -> None:
    query = json.dumps({"rank_by": ["title", "BM25", "green"], "top_k": 1}).encode()

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(query), 7):
            yield query[start : start + 7]

    answer = await http.post(
        f"/v2/namespaces/{products}/query",
        content=chunks(),
        headers={"x-hevlayer-tags": "tap:chunked", "content-type": "application/json"},
    )
    assert answer.status_code == 200
    assert (await logged(http, products, "tap:chunked"))["raw_query"] == "green"


async def test_http2(stack: Stack, http: httpx.AsyncClient, products: str) -> None:
    query = {"rank_by": ["title", "BM25", "blue"], "top_k": 1}
    async with httpx.AsyncClient(
        base_url=stack.gateway_url, http1=False, http2=True, timeout=20
    ) as client:
        answer = await client.post(
            f"/v2/namespaces/{products}/query", json=query, headers={"x-hevlayer-tags": "tap:h2"}
        )
        assert (answer.status_code, answer.http_version) == (200, "HTTP/2")
    assert (await logged(http, products, "tap:h2"))["raw_query"] == "blue"


async def test_http2_whose_stream_ends_after_the_answer(
    stack: Stack, http: httpx.AsyncClient, products: str
) -> None:
    body = json.dumps({"rank_by": ["title", "BM25", "late"], "top_k": 1}).encode()
    host, port = stack.gateway_url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    headers = [
        (":method", "POST"),
        (":path", f"/v2/namespaces/{products}/query"),
        (":scheme", "http"),
        (":authority", f"{host}:{port}"),
        ("content-length", str(len(body))),
        ("x-hevlayer-tags", "tap:late-end"),
    ]
    connection.send_headers(1, headers)
    connection.send_data(1, body)
    writer.write(connection.data_to_send())
    answered = False
    while not answered:
        events = connection.receive_data(await asyncio.wait_for(reader.read(65_536), 10))
        answered = any(isinstance(event, h2.events.DataReceived) for event in events)
        writer.write(connection.data_to_send())
    # The whole body was there and is answered, though the stream was never ended.
    writer.close()
    await writer.wait_closed()
    assert (await logged(http, products, "tap:late-end"))["raw_query"] == "late"


async def test_the_users_words_win_over_the_querys(http: httpx.AsyncClient, products: str) -> None:
    headers = {"x-hevlayer-search-query": "kopfhörer für Läufer", "x-hevlayer-tags": "tap:words"}
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    query = {"rank_by": ["vector", "ANN", [1.0, 1.0, 0.5, 0.25]], "top_k": 1}
    await http.post(f"/v2/namespaces/{products}/query", json=query, headers=encoded)
    assert (await logged(http, products, "tap:words"))["raw_query"] == "kopfhörer für Läufer"


async def test_a_served_query_is_listed_within_a_second(
    http: httpx.AsyncClient, products: str
) -> None:
    headers = {"x-hevlayer-tags": "tap:soon"}
    query = {"rank_by": ["id", "asc"], "top_k": 1}
    await http.post(f"/v2/namespaces/{products}/query", json=query, headers=headers)

    async def count() -> int:
        path = f"/v2/namespaces/{products}/search-history"
        entries = (await http.get(path, params={"tag": "tap:soon"})).json()["entries"]
        return len(entries)

    await eventually(count, lambda count: count == 1, seconds=1.0)
