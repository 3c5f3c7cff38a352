"""Recall, and copies that are started and polled."""

from __future__ import annotations

import httpx

from tests.unit.devstore.test_app import get, post, upsert


async def test_recall_searches_for_vectors_of_the_namespace(client: httpx.AsyncClient) -> None:
    path = "/v1/namespaces/n/_debug/recall"
    rows = [{"id": i, "vector": [i, 1], "even": i % 2 == 0} for i in range(8)]
    await upsert(client, upsert_rows=[*rows, {"id": 9}], distance_metric="euclidean_squared")

    plain = await post(client, path, num=5, top_k=3)
    some = await post(client, path, filters=["even", "Eq", True])
    one = await post(
        client, path, rank_by=["vector", "ANN", [6.6, 1]], top_k=2, include_ground_truth=True
    )

    assert plain == {"avg_recall": 1.0, "avg_exhaustive_count": 3.0, "avg_ann_count": 3.0}
    assert some["avg_ann_count"] == 4.0
    ((truth),) = one["ground_truth"]
    assert truth["query_vector"] == [6.6, 1]
    assert [row["id"] for row in truth["nearest_neighbors"]] == [7, 6]
    assert truth["nearest_neighbors"][0]["vector"] == [7.0, 1.0]
    for body, status in (
        ({"num": 2, "rank_by": ["vector", "ANN", [1, 1]]}, 400),
        ({"rank_by": ["id", "asc"]}, 400),
        ({"num": 0}, 400),
        ({"colour": 1}, 422),
    ):
        assert (await client.post(path, json=body)).status_code == status
    await upsert(client, "without")
    assert (await client.post("/v1/namespaces/without/_debug/recall", json={})).status_code == 400


async def test_copies_can_be_started_and_polled(client: httpx.AsyncClient) -> None:
    await upsert(client)

    body = {"copy_from_namespace": {"source_namespace": "n"}}
    started = await client.post("/v2/namespaces/copy/async", json=body)
    again = await client.post("/v2/namespaces/copy/async", json=body)
    other = await client.post("/v2/namespaces/copy/async", json={"upsert_rows": [{"id": 1}]})
    assert other.status_code == 422
    assert (started.status_code, again.status_code) == (202, 202)
    operations = "/v1/namespaces/copy/operations"
    done = await get(client, f"{operations}/{started.json()['token']}")
    failed = await get(client, f"{operations}/{again.json()['token']}")

    assert (done["status"], done["result"]["success"]["status"]) == ("finished", "OK")
    assert failed["result"]["error"] == {
        "status_code": 400,
        "detail": {"status": "error", "error": "namespace 'copy' exists already"},
    }
    assert (await get(client, "/v2/namespaces/copy/metadata"))["approx_row_count"] == 1
    for path in (f"{operations}/none", f"/v1/namespaces/n/operations/{started.json()['token']}"):
        assert (await client.get(path)).status_code == 404
