"""The HTTP face: metadata, lists, compression, errors, and what tests can ask for."""

from __future__ import annotations

import gzip
import json
from typing import Any

import httpx
import pytest

from tests.doubles.fake_clock import FakeClock

METADATA = "/v2/namespaces/n/metadata"


async def post(client: httpx.AsyncClient, path: str, **body: Any) -> dict[str, Any]:
    answer = await client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    parsed: dict[str, Any] = answer.json()
    return parsed


async def get(client: httpx.AsyncClient, path: str, **parameters: Any) -> dict[str, Any]:
    answer = await client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    parsed: dict[str, Any] = answer.json()
    return parsed


async def upsert(client: httpx.AsyncClient, namespace: str = "n", **body: Any) -> dict[str, Any]:
    body.setdefault("upsert_rows", [{"id": 1, "s": "x"}])
    return await post(client, f"/v2/namespaces/{namespace}", **body)


async def test_a_write_tells_what_it_did(client: httpx.AsyncClient) -> None:
    await upsert(client, upsert_rows=[{"id": i, "n": i} for i in range(4)])

    answer = await upsert(
        client,
        upsert_rows=[{"id": 7}],
        upsert_columns={"id": [8]},
        patch_rows=[{"id": 1, "n": 5}, {"id": 99, "n": 5}],
        deletes=[3],
        return_affected_ids=True,
    )

    assert answer["performance"]["server_total_ms"] >= 1
    assert answer["billing"]["billable_logical_bytes_written"] > 0
    assert answer["billing"]["query"]["billable_logical_bytes_returned"] == 0
    del answer["performance"], answer["billing"], answer["message"]
    assert answer == {
        "status": "OK",
        "rows_affected": 4,
        "rows_upserted": 2,
        "rows_patched": 1,
        "rows_deleted": 1,
        "upserted_ids": [7, 8],
        "patched_ids": [1],
        "deleted_ids": [3],
    }
    nothing = await upsert(client, upsert_rows=[], delete_by_filter=["n", "Eq", 77])
    assert (nothing["rows_affected"], nothing["rows_deleted"]) == (0, 0)
    assert not {"rows_upserted", "rows_patched"} & set(nothing)
    plain = await upsert(client)
    assert set(plain["billing"]) == {"billable_logical_bytes_written"}


async def test_metadata_moves_with_data_and_schema(
    client: httpx.AsyncClient, clock: FakeClock
) -> None:
    async def times() -> tuple[str, str, str]:
        answer = await get(client, METADATA)
        return answer["created_at"], answer["updated_at"], answer["last_write_at"]

    await upsert(client)
    created, updated, written = first = await times()
    clock.advance(1)
    await post(client, "/v1/namespaces/n/schema", s={"type": "string", "filterable": False})
    after_schema = await times()
    clock.advance(1)
    await upsert(client, upsert_rows=None, schema={"extra": "int"})
    after_declaration = await times()
    clock.advance(1)
    await client.patch(METADATA, json={"read_only": True})
    await client.patch(METADATA, json={"read_only": False})
    after_patch = await times()
    clock.advance(1)
    await upsert(client)
    after_write = await times()

    assert created <= updated == written
    assert (after_schema[0], after_schema[2]) == (first[0], first[2])
    assert updated < after_schema[1] < after_declaration[1] == after_patch[1] < after_write[1]
    assert after_declaration[2] == after_patch[2] == written < after_write[2]
    assert after_write[1] == after_write[2]


async def test_the_watermark_of_a_query_is_the_last_write(client: httpx.AsyncClient) -> None:
    await upsert(client)

    metadata = await get(client, METADATA)
    answer = await post(client, "/v2/namespaces/n/query", rank_by=["id", "asc"], limit=1)

    assert answer["performance"]["last_included_write_at"] == metadata["last_write_at"]
    assert metadata["last_write_at"].endswith("Z")
    assert len(metadata["last_write_at"]) == len("2026-11-20T08:59:58.000000000Z")
    assert answer["performance"]["exhaustive_search_count"] == 1
    assert set(answer["billing"]) == {
        "billable_logical_bytes_queried",
        "billable_logical_bytes_returned",
    }


async def test_shapes_of_the_schema(client: httpx.AsyncClient) -> None:
    await upsert(
        client,
        upsert_rows=[{"id": 1, "vector": [1, 2], "t": "x"}],
        distance_metric="cosine_distance",
        schema={"t": {"type": "string", "full_text_search": True}},
    )

    metadata = await get(client, METADATA)
    older = await get(client, "/v1/namespaces/n/metadata")
    schema = await get(client, "/v1/namespaces/n/schema")

    assert metadata["encryption"] == {"mode": "default"}
    assert older == {**metadata, "encryption": {"sse": True}}
    text = metadata["schema"].pop("t")
    assert (text["filterable"], text["full_text_search"]["max_token_length"]) == (False, 39)
    assert metadata["schema"] == {
        "id": {"type": "uint"},
        "vector": {"type": "[2]f32", "ann": {"distance_metric": "cosine_distance"}},
    }
    assert schema["t"] == text
    assert schema["id"] == {"type": "uint", "filterable": None, "full_text_search": None}
    assert schema["vector"]["ann"] is True
    assert metadata["index"] == {"status": "up-to-date"}
    assert "read_only" not in metadata


async def test_a_read_only_namespace_refuses_writes(client: httpx.AsyncClient) -> None:
    await upsert(client)
    await client.patch(METADATA, json={"read_only": True})
    pinned = await client.patch(METADATA, json={"pinning": True})

    refused = await client.post("/v2/namespaces/n", json={"deletes": [1]})

    assert pinned.json()["read_only"] is True
    assert refused.status_code == 400
    assert (await client.patch(METADATA, json={"read_only": 1})).status_code == 422
    assert (await client.patch(METADATA, json={"other": 1})).status_code == 422


async def test_lists_are_in_pages(client: httpx.AsyncClient) -> None:
    names = ["a-1", "a-2", "a-3", "a_", "b-1", "b."]
    for name in names:
        await upsert(client, name)

    async def pages(**parameters: Any) -> list[list[str]]:
        found: list[list[str]] = []
        while True:
            page = await get(client, "/v1/namespaces", **parameters)
            found.append([item["id"] for item in page["namespaces"]])
            if not page.get("next_cursor"):
                return found
            parameters["cursor"] = page["next_cursor"]

    assert await pages() == [sorted(names)]
    assert await pages(page_size=4) == [sorted(names)[:4], sorted(names)[4:]]
    assert await pages(page_size=3, prefix="a") == [["a-1", "a-2", "a-3"], ["a_"]]
    assert await pages(prefix="a_") == [["a_"]]
    assert await pages(prefix="zz") == [[]]
    for size in ("0", "1001", "x"):
        refused = await client.get("/v1/namespaces", params={"page_size": size})
        assert refused.status_code == 400


async def test_a_deleted_namespace_is_gone_and_its_name_free(client: httpx.AsyncClient) -> None:
    await upsert(client)

    deleted = await client.delete("/v2/namespaces/n")

    assert deleted.json() == {"status": "OK"}
    for method, path in (
        ("DELETE", "/v2/namespaces/n"),
        ("GET", METADATA),
        ("GET", "/v1/namespaces/n/schema"),
        ("POST", "/v1/namespaces/n/schema"),
        ("POST", "/v2/namespaces/n/query"),
        ("POST", "/v2/namespaces/n/explain_query"),
        ("POST", "/v1/namespaces/n/_debug/recall"),
        ("GET", "/v1/namespaces/n/hint_cache_warm"),
        ("PATCH", METADATA),
    ):
        absent = await client.request(method, path, content=b"{}")
        assert absent.status_code == 404, path
        assert absent.json() == {
            "status": "error",
            "error": "🤷 namespace 'n' was not found",
        }
    await upsert(client, upsert_rows=[{"id": "text now", "s": 5}])


async def test_gzip_both_ways(client: httpx.AsyncClient) -> None:
    body = json.dumps({"upsert_rows": [{"id": i, "s": "x" * 50} for i in range(100)]}).encode()
    written = await client.post(
        "/v2/namespaces/n",
        content=gzip.compress(body),
        headers={"content-encoding": "gzip", "content-type": "application/json"},
    )

    answer = await client.post(
        "/v2/namespaces/n/query",
        json={"rank_by": ["id", "asc"], "limit": 100, "include_attributes": True},
        headers={"accept-encoding": "gzip"},
    )

    assert written.json()["rows_upserted"] == 100
    assert answer.headers["content-encoding"] == "gzip"
    assert len(answer.json()["rows"]) == 100


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"{", {}, 400),
        (b"", {}, 400),
        (b"\xff", {}, 400),
        (b'{"a":' + b"[" * 100_000, {}, 400),
        (b"[]", {}, 422),
        (b'"text"', {}, 422),
        (b"{}", {"content-encoding": "gzip"}, 400),
        (gzip.compress(b"{}")[:-4], {"content-encoding": "gzip"}, 400),
    ],
)
async def test_a_body_is_refused(
    client: httpx.AsyncClient, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = await client.post("/v2/namespaces/n/query", content=content, headers=headers)

    assert answer.status_code == status
    assert answer.json()["status"] == "error"


async def test_what_duckdb_cannot_take_is_the_callers_error(client: httpx.AsyncClient) -> None:
    await upsert(client, upsert_rows=[{"id": i, "s": "x", "n": 2**63 - 1} for i in (1, 2)])
    query = {"rank_by": ["id", "asc"], "limit": 1}

    # A pattern to Python but not to DuckDB; a sum of more than 64 bits.
    lookahead = {**query, "filters": ["s", "Regex", "(?=x)"]}
    overflow = {"aggregate_by": {"sum": ["Sum", "n"]}}

    for body in (lookahead, overflow):
        answer = await client.post("/v2/namespaces/n/query", json=body)
        assert answer.status_code == 400, answer.text


async def test_requests_need_a_key_a_route_and_a_name(client: httpx.AsyncClient) -> None:
    assert (await client.get(METADATA, headers={"authorization": "Bearer "})).status_code == 401
    for method, path in (("GET", "/v3/x"), ("PUT", METADATA)):
        answer = await client.request(method, path)
        assert (answer.status_code, answer.json()["status"]) == (404, "error")
    assert (await client.get(f"/v2/namespaces/{'x' * 129}/metadata")).status_code == 400
    assert (await client.get("/v2/namespaces/a b/metadata")).status_code == 400


async def test_a_copy_of_a_read_only_namespace_is_read_only(client: httpx.AsyncClient) -> None:
    await upsert(client)
    await client.patch(METADATA, json={"read_only": True})

    await upsert(client, "copy", upsert_rows=None, copy_from_namespace="n")

    assert (await get(client, "/v2/namespaces/copy/metadata"))["read_only"] is True
    refused = await client.post("/v2/namespaces/copy", json={"deletes": [1]})
    assert refused.status_code == 400


async def test_the_lesser_routes(client: httpx.AsyncClient) -> None:
    await upsert(client)

    assert (await get(client, "/dev/v1/health")) == {"status": "ok"}
    plan = await post(client, "/v2/namespaces/n/explain_query", rank_by=["id", "asc"], limit=1)
    assert isinstance(plan["plan_text"], str)
    refused = await client.post("/v2/namespaces/n/explain_query", json={"rank_by": ["no", "asc"]})
    assert refused.status_code == 400
    warm = await client.get("/v1/namespaces/n/hint_cache_warm")
    assert (warm.status_code, warm.json()["status"]) == (202, "ACCEPTED")


async def behave(client: httpx.AsyncClient, namespace: str = "n", **behaviour: Any) -> None:
    path = f"/dev/v1/namespaces/{namespace}/behaviour"
    assert (await client.put(path, json=behaviour)).status_code == 200


@pytest.fixture
async def behaving(client: httpx.AsyncClient) -> httpx.AsyncClient:
    await upsert(client)
    await upsert(client, "other")
    return client


async def test_an_index_can_be_updating_for_a_while(
    behaving: httpx.AsyncClient, clock: FakeClock
) -> None:
    await behave(behaving, updating_seconds=10)

    updating = (await get(behaving, METADATA))["index"]
    other = (await get(behaving, "/v2/namespaces/other/metadata"))["index"]
    clock.advance(10)
    after = (await get(behaving, METADATA))["index"]

    assert updating == {"status": "updating", "unindexed_bytes": 64, "unindexed_rows": 1}
    assert other == after == {"status": "up-to-date"}


async def test_an_index_can_be_updating_until_told_otherwise(
    behaving: httpx.AsyncClient, clock: FakeClock
) -> None:
    await behave(behaving, updating_seconds=-1)
    clock.advance(1e6)

    assert (await get(behaving, METADATA))["index"]["status"] == "updating"
    await behaving.delete("/dev/v1/namespaces/n/behaviour")
    assert (await get(behaving, METADATA))["index"]["status"] == "up-to-date"


async def test_some_routes_can_fail_a_number_of_times(behaving: httpx.AsyncClient) -> None:
    await behave(behaving, fail_next=2, fail_status=429, fail_routes=["metadata"])

    schema = await behaving.get("/v1/namespaces/n/schema")
    statuses = [(await behaving.get(METADATA)).status_code for _ in range(3)]
    other = await behaving.get("/v2/namespaces/other/metadata")

    assert (schema.status_code, statuses, other.status_code) == (200, [429, 429, 200], 200)


async def test_a_failed_write_was_not_made(behaving: httpx.AsyncClient) -> None:
    await behave(behaving, fail_next=1)

    failed = await behaving.post("/v2/namespaces/n", json={"deletes": [1]})

    assert failed.status_code == 500
    assert (await get(behaving, METADATA))["approx_row_count"] == 1


async def test_answers_can_be_late(behaving: httpx.AsyncClient, clock: FakeClock) -> None:
    await behave(behaving, delay_ms=1500)
    before = clock.monotonic()

    await get(behaving, METADATA)

    assert clock.monotonic() - before == pytest.approx(1.5)


async def test_requests_are_counted_by_route(behaving: httpx.AsyncClient) -> None:
    await behaving.delete("/dev/v1/requests")
    await behave(behaving, fail_next=1, fail_routes=["query"])

    await upsert(behaving)
    for _ in range(2):
        await behaving.post("/v2/namespaces/n/query", json={"rank_by": ["id", "asc"], "limit": 1})
    await get(behaving, METADATA)
    await get(behaving, "/v1/namespaces")

    counted = await get(behaving, "/dev/v1/requests")
    assert counted == {"write": 1, "query": 2, "metadata": 1, "other": 1}


async def test_an_unknown_behaviour_is_refused(behaving: httpx.AsyncClient) -> None:
    for content in (b'{"explode": true}', b'{"fail_next": "x"}', b"{"):
        answer = await behaving.put("/dev/v1/namespaces/n/behaviour", content=content)
        assert answer.status_code == 422
