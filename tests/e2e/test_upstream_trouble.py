"""An upstream that is busy, failing or slow, as the development upstream can be told to be."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from services.cli.stack import Stack
from tests.e2e.conftest import ROWS, write
from tests.e2e.stacks import eventually, snapshot_of

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def behave(stack: Stack, namespace: str, **behaviour: Any) -> None:
    async with httpx.AsyncClient(base_url=stack.devstore_url) as client:
        path = f"/dev/v1/namespaces/{namespace}/behaviour"
        (await client.put(path, json=behaviour)).raise_for_status()


@pytest.mark.parametrize("status", [429, 503])
async def test_a_few_failures_are_tried_again(
    stack: Stack, http: httpx.AsyncClient, status: int
) -> None:
    name = f"shaky-{status}"
    await write(stack, name, ROWS[:9])
    await behave(stack, name, fail_next=2, fail_status=status, fail_routes=["query"])
    done = await snapshot_of(http, name, field="color", source="origin")
    assert (done["status"], done["documents_scanned"]) == ("completed", 9)


async def test_an_upstream_that_stays_down_fails_the_job_with_a_sentence(
    stack: Stack, http: httpx.AsyncClient
) -> None:
    await write(stack, "down", ROWS[:9])
    await behave(stack, "down", fail_next=1000, fail_status=500, fail_routes=["query"])
    done = await snapshot_of(http, "down", field="color", source="origin")
    assert done["status"] == "failed"
    assert done["error"] == "the upstream answered 500: failing as asked"
    assert (await http.get("/v2/namespaces/down/history")).json() == []
    relayed = await http.post(
        "/v2/namespaces/down/query", json={"rank_by": ["id", "asc"], "top_k": 1}
    )
    assert (relayed.status_code, relayed.json()["error"]) == (500, "failing as asked")


async def test_the_writer_waits_for_an_index_that_is_updating(
    stack: Stack, http: httpx.AsyncClient
) -> None:
    await write(stack, "settling", ROWS[:9])
    await behave(stack, "settling", updating_seconds=-1)
    policy = {"facetFields": ["color"], "interval": "1s"}
    await http.put("/v2/namespaces/settling/snapshot-policy", json=policy)
    manual = (await http.post("/v2/namespaces/settling/snapshots", json={"field": "size"})).json()
    layer = (await http.get("/v2/namespaces/settling/metadata")).json()["layer"]
    assert (layer["is_stable"], layer["stable_as_of"]) == (False, None)

    async def polls() -> int:
        async with httpx.AsyncClient(base_url=stack.devstore_url) as client:
            count: int = (await client.get("/dev/v1/requests")).json().get("metadata", 0)
        return count

    started = await polls()
    # It has been looked at several times, and left alone.
    await eventually(polls, lambda count: count >= started + 6)
    assert (await http.get("/v2/namespaces/settling/history")).json() == []
    await behave(stack, "settling", updating_seconds=0)

    async def history() -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = (await http.get("/v2/namespaces/settling/history")).json()
        return answer

    await eventually(history, lambda entries: len(entries) >= 1)

    async def job() -> dict[str, Any]:
        path = f"/v2/namespaces/settling/snapshot-jobs/{manual['id']}"
        answer: dict[str, Any] = (await http.get(path)).json()
        return answer

    assert (await eventually(job, lambda job: job["status"] != "running"))["status"] == "completed"


async def test_a_slow_upstream_holds_nobody_else(stack: Stack, http: httpx.AsyncClient) -> None:
    await write(stack, "slow", ROWS[:9])
    await write(stack, "quick", ROWS[:9])
    await behave(stack, "slow", delay_ms=3000)
    slow = await http.post("/v2/namespaces/slow/snapshots", json={"field": "color"})
    done = await snapshot_of(http, "quick", field="color", source="origin")
    assert done["status"] == "completed"
    path = f"/v2/namespaces/slow/snapshot-jobs/{slow.json()['id']}"
    assert (await http.get(path)).json()["status"] == "running"


async def test_a_cursor_belongs_to_its_feed(stack: Stack, http: httpx.AsyncClient) -> None:
    await write(stack, "fed", ROWS[:3])
    for field in ("color", "size"):
        await snapshot_of(http, "fed", field=field, source="origin")
    one = {"since": 0, "limit": 1}
    mine = (await http.get("/v2/activity/snapshots", params={**one, "namespace": "fed"})).json()
    everyones = (await http.get("/v2/activity/snapshots", params=one)).json()
    for cursor, namespace in (
        (mine["next_cursor"], None),
        (everyones["next_cursor"], "fed"),
        (mine["next_cursor"], "other"),
    ):
        params: dict[str, Any] = {**one, "cursor": cursor}
        if namespace:
            params["namespace"] = namespace
        answer = await http.get("/v2/activity/snapshots", params=params)
        assert (answer.status_code, answer.json()["error"]) == (422, "validation_error")
