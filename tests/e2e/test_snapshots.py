"""Snapshots over plain HTTP: the exact JSON shapes."""

from __future__ import annotations

import hashlib
import json
import re

import httpx
import pytest

from services.cli.stack import Stack
from tests.e2e.conftest import ROWS, write
from tests.e2e.stacks import eventually, snapshot_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

RUNNING_KEYS = {
    "id", "namespace", "field", "source", "status", "progress", "documents_scanned", "created_at",
}  # fmt: skip
DONE_KEYS = RUNNING_KEYS | {"effective_source", "sha", "stable_as_of", "completed_at"}


async def test_a_job_from_start_to_body(http: httpx.AsyncClient, products: str) -> None:
    started = await http.post(
        f"/v2/namespaces/{products}/snapshots", json={"field": "color", "source": "origin"}
    )
    assert started.status_code == 202
    assert started.headers["content-type"] == "application/json"
    body = started.json()
    assert set(body) == RUNNING_KEYS
    assert (body["status"], body["progress"], body["documents_scanned"]) == ("running", 0, 0)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", body["created_at"])
    done = await snapshot_of(http, products, field="color", source="origin", page_size=7)
    assert set(done) == DONE_KEYS
    assert (done["status"], done["progress"], done["documents_scanned"]) == ("completed", 1, 60)
    assert isinstance(done["stable_as_of"], int)
    assert done["effective_source"] == "origin"

    stored = (await http.get(f"/v2/namespaces/{products}/snapshots/{done['sha']}")).json()
    assert stored["fields"] == [
        {"name": "color", "values": [{"v": c, "n": 20} for c in ("blue", "green", "red")]}
    ]
    assert stored["fields_skipped"] == []
    assert stored["row_count"] == 60
    content = {key: stored[key] for key in ("row_count", "fields", "fields_skipped")}
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(canonical.encode()).hexdigest() == stored["sha"] == done["sha"]
    by_prefix = await http.get(f"/v2/namespaces/{products}/snapshots/{done['sha'][:7]}")
    assert by_prefix.json()["sha"] == done["sha"]


async def test_history_is_a_bare_array_newest_first(http: httpx.AsyncClient, products: str) -> None:
    one = await snapshot_of(http, products, field="size", source="origin")
    two = await snapshot_of(http, products, field="tags", source="origin")
    history = (await http.get(f"/v2/namespaces/{products}/history")).json()
    assert isinstance(history, list)
    assert [set(entry) for entry in history] == [{"watermark_ms", "sha"}] * len(history)
    shas = [entry["sha"] for entry in history]
    assert shas.index(two["sha"]) < shas.index(one["sha"])
    older = await http.get(f"/v2/namespaces/{products}/history", params={"before": two["sha"][:10]})
    assert older.json() == history[shas.index(two["sha"]) + 1 :][:50]
    assert (await http.get(f"/v2/namespaces/{products}/history?limit=1")).json() == history[:1]
    assert (await http.get("/v2/namespaces/never-written/history")).json() == []


async def test_array_elements_count_documents(http: httpx.AsyncClient, products: str) -> None:
    done = await snapshot_of(http, products, field="tags", source="origin")
    body = (await http.get(f"/v2/namespaces/{products}/snapshots/{done['sha']}")).json()
    expected = {t: sum(t in row["tags"] for row in ROWS) for t in "abc"}  # type: ignore[operator]
    assert {v["v"]: v["n"] for v in body["fields"][0]["values"]} == expected


async def test_filters_are_the_upstreams(http: httpx.AsyncClient, products: str) -> None:
    done = await snapshot_of(http, products, field="size", filters=["color", "Eq", "red"])
    assert (done["effective_source"], done["documents_scanned"]) == ("origin", 20)
    history = (await http.get(f"/v2/namespaces/{products}/history?limit=500")).json()
    assert done["sha"] not in [entry["sha"] for entry in history]
    assert (await http.get(f"/v2/namespaces/{products}/snapshots/{done['sha']}")).status_code == 200


async def test_auto_uses_what_is_stored(http: httpx.AsyncClient, products: str) -> None:
    first = await snapshot_of(http, products, field="color", source="origin")
    again = await snapshot_of(http, products, field="color")
    assert (again["effective_source"], again["sha"]) == ("stored", first["sha"])
    assert again["documents_scanned"] == 60


async def test_a_failed_job_says_what_to_do(http: httpx.AsyncClient, products: str) -> None:
    failed = await snapshot_of(http, products, field="nothing", source="stored")
    assert set(failed) == RUNNING_KEYS | {"completed_at", "error"}
    assert failed["status"] == "failed"
    assert "use source origin" in failed["error"]


async def test_jobs_are_listed_in_order(http: httpx.AsyncClient, products: str) -> None:
    await snapshot_of(http, products, field="color")
    jobs = (await http.get(f"/v2/namespaces/{products}/snapshot-jobs")).json()["snapshot_jobs"]
    created = [job["created_at"] for job in jobs]
    assert created == sorted(created)
    assert (await http.get("/v2/namespaces/other/snapshot-jobs")).json() == {"snapshot_jobs": []}


async def test_activity_pages_visit_every_event_once(stack: Stack, http: httpx.AsyncClient) -> None:
    shas = set()
    for name in ("feed-one", "feed-two"):
        await write(stack, name, ROWS[:5])
        for field in ("color", "size"):
            shas.add((await snapshot_of(http, name, field=field, source="origin"))["sha"])
    seen: list[tuple[str, str, int]] = []
    params: dict[str, str | int] = {"since": 0, "limit": 1}
    while True:
        page = (await http.get("/v2/activity/snapshots", params=params)).raise_for_status().json()
        assert set(page) <= {"events", "next_cursor"}
        seen += [(e["namespace"], e["sha"], e["ts_ms"]) for e in page["events"]]
        if "next_cursor" not in page:
            break
        params["cursor"] = page["next_cursor"]
    assert len(seen) == len(set(seen))
    assert [event[2] for event in seen] == sorted((event[2] for event in seen), reverse=True)
    assert {(name, sha) for name, sha, _ in seen if name.startswith("feed-")} >= {
        (name, sha) for name in ("feed-one", "feed-two") for sha in shas
    }
    one = (await http.get("/v2/activity/snapshots?since=0&namespace=feed-one")).json()
    assert {event["namespace"] for event in one["events"]} == {"feed-one"}
    future = await http.get("/v2/activity/snapshots", params={"since": 9_000_000_000_000})
    assert future.json() == {"events": []}


async def test_a_changed_namespace_gets_its_snapshot_by_itself(
    stack: Stack, http: httpx.AsyncClient
) -> None:
    await write(stack, "watched", ROWS[:10])
    policy = {"facetFields": ["color", "size"], "interval": "1s"}
    put = await http.put("/v2/namespaces/watched/snapshot-policy", json=policy)
    assert put.json() == {"facetFields": ["color", "size"], "interval": "1s", "retention": "never"}
    assert (await http.get("/v2/namespaces/watched/snapshot-policy")).json() == put.json()

    async def history() -> list[dict[str, object]]:
        answer: list[dict[str, object]] = (await http.get("/v2/namespaces/watched/history")).json()
        return answer

    await eventually(history, lambda entries: len(entries) == 1)
    await write(stack, "watched", ROWS[:11])
    entries = await eventually(history, lambda entries: len(entries) == 2)
    body = (await http.get(f"/v2/namespaces/watched/snapshots/{entries[0]['sha']}")).json()
    assert body["row_count"] == 11
    assert [field["name"] for field in body["fields"]] == ["color", "size"]
