"""Ranked queries: order, windows, projections, distances, several at once."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from services.devstore.errors import DevstoreError
from tests.unit.devstore.conftest import Store

EUCLIDEAN = {"distance_metric": "euclidean_squared"}


def status(store: Store, **body: Any) -> int:
    with pytest.raises(DevstoreError) as error:
        store.ask(**body)
    return error.value.status


def test_nulls_are_first_ascending_and_last_descending(store: Store) -> None:
    store.upsert({"id": 1, "n": 2}, {"id": 2}, {"id": 3, "n": 1}, {"id": 4, "n": 2})

    assert store.ids(rank_by=["n", "asc"]) == [2, 3, 1, 4]
    assert store.ids(rank_by=["n", "desc"]) == [1, 4, 3, 2]
    assert store.ids(rank_by=[["n", "desc"], ["id", "desc"]]) == [4, 1, 3, 2]


def test_pages_by_offset_and_by_id_cover_every_row_once(store: Store) -> None:
    store.upsert(*({"id": i, "same": 1} for i in range(25)))

    by_offset = [store.ids(rank_by=["same", "asc"], limit=10, offset=o) for o in (0, 10, 20, 30)]
    by_id = store.ids(limit=10) + store.ids(["id", "Gt", 9], limit=10)

    assert [len(page) for page in by_offset] == [10, 10, 5, 0]
    assert sorted(i for page in by_offset for i in page) == list(range(25))
    assert by_id == list(range(20))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, {"id"}),
        ({"include_attributes": False}, {"id"}),
        ({"include_attributes": []}, {"id"}),
        ({"include_attributes": True}, {"id", "a", "b", "vector"}),
        ({"include_attributes": ["b", "b", "id"]}, {"id", "b"}),
        ({"exclude_attributes": ["a", "unknown", "id"]}, {"id", "b", "vector"}),
    ],
)
def test_a_projection(store: Store, body: dict[str, Any], expected: set[str]) -> None:
    store.upsert({"id": 1, "a": 1, "b": 2, "vector": [1, 2]}, **EUCLIDEAN)

    (row,) = store.ask(rank_by=["id", "asc"], limit=1, **body).body["rows"]

    assert set(row) == expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"limit": 1, "top_k": 1}, 400),
        ({}, 400),
        ({"limit": 0}, 400),
        ({"limit": "1"}, 400),
        ({"limit": True}, 400),
        ({"limit": 10_001}, 400),
        ({"limit": 9_999, "offset": 2}, 400),
        ({"limit": 1, "offset": -1}, 400),
        ({"limit": {"total": 1, "per": {"attributes": ["absent"], "limit": 1}}}, 400),
        ({"limit": {"total": 1, "per": {"attributes": [], "limit": 1}}}, 400),
        ({"limit": {"total": 1, "per": 3}}, 422),
        ({"limit": 1, "include_attributes": ["absent"]}, 400),
        ({"limit": 1, "include_attributes": "n"}, 422),
        ({"limit": 1, "include_attributes": True, "exclude_attributes": []}, 400),
        ({"limit": 1, "rank_by": None}, 400),
        ({"limit": 1, "rank_by": ["absent", "asc"]}, 400),
        ({"limit": 1, "rank_by": ["n", "up"]}, 400),
        ({"limit": 1, "rank_by": ["tags", "asc"]}, 400),
        ({"limit": 1, "rank_by": [["n", "asc"]] * 9}, 400),
        ({"limit": 1, "rank_by": [["n", "asc"], 1]}, 400),
        ({"limit": 1, "rank_by": ["n", "ANN", [1]]}, 400),
        ({"limit": 1, "rank_by": ["n", "BM25", "x"]}, 400),
        ({"limit": 1, "rank_by": ["vector", "ANN", [1]]}, 400),
        ({"limit": 1, "rank_by": ["vector", "kNN", [1, 2]]}, 400),
        ({"limit": 1, "rank_by": "id"}, 422),
        ({"limit": 1, "rank_by": ["Product", ["id", "asc"], ["id", "asc"]]}, 400),
        ({"limit": 1, "rank_by": ["Sum", 1]}, 400),
        ({"limit": 1, "colour": "red"}, 422),
        ({"limit": 1, "include_leg_breakdown": True}, 422),
        ({"limit": 1, "consistency": "strong"}, 422),
        ({"limit": 1, "consistency": {"level": "weak"}}, 422),
        ({"limit": 1, "vector_encoding": "hex"}, 422),
    ],
)
def test_a_query_is_refused(store: Store, body: dict[str, Any], expected: int) -> None:
    store.upsert({"id": 1, "n": 1, "tags": ["x"], "vector": [1, 2]}, **EUCLIDEAN)

    assert status(store, **{"rank_by": ["id", "asc"], **body}) == expected


@pytest.mark.parametrize("metric", ["cosine_distance", "euclidean_squared"])
def test_ann_is_exact(store: Store, metric: str) -> None:
    random = np.random.default_rng(7)
    vectors = random.normal(size=(60, 8)).astype("f4")
    query = random.normal(size=8).astype("f4")
    store.upsert(
        *({"id": i, "vector": v.tolist(), "even": i % 2 == 0} for i, v in enumerate(vectors)),
        {"id": 99, "even": True},
        distance_metric=metric,
    )
    if metric == "euclidean_squared":
        distances = ((vectors - query) ** 2).sum(axis=1)
    else:
        norms = np.linalg.norm(vectors, axis=1) * np.linalg.norm(query)
        distances = 1 - vectors @ query / norms
    nearest = [int(i) for i in np.argsort(distances) if i % 2 == 0][:10]
    body = {"filters": ["even", "Eq", True], "limit": 10}

    ann = store.rows(rank_by=["vector", "ANN", query.tolist()], **body)
    knn = store.rows(rank_by=["vector", "kNN", query.tolist()], **body)

    assert ann == knn
    assert [row["id"] for row in ann] == nearest
    assert [row["$dist"] for row in ann] == pytest.approx(distances[nearest].tolist(), abs=1e-5)


def test_equal_distances_are_in_the_order_of_ids(store: Store) -> None:
    store.upsert(*({"id": i, "vector": [1, 1]} for i in (5, 3, 9, 1)), **EUCLIDEAN)

    assert store.ids(rank_by=["vector", "ANN", [0, 0]]) == [1, 3, 5, 9]


@pytest.mark.parametrize(
    ("rank_by", "expected"),
    [
        (["n", "desc"], [9, 8, 7, 5]),
        (["vector", "ANN", [0, 0]], [0, 1, 3, 4]),
        (["text", "BM25", "word"], [0, 1, 3, 4]),
    ],
)
def test_a_limit_per_attribute(store: Store, rank_by: list[Any], expected: list[int]) -> None:
    store.upsert(
        *({"id": i, "n": i, "kind": i // 3, "vector": [i, 0], "text": "word"} for i in range(10)),
        schema={"text": {"type": "string", "full_text_search": True}},
        **EUCLIDEAN,
    )
    limit = {"total": 4, "per": {"attributes": ["kind"], "limit": 2}}

    found = store.ids(rank_by=rank_by, limit=limit)

    assert found == expected


def test_several_queries_see_one_state(store: Store) -> None:
    store.upsert({"id": 0, "n": 0})
    stop = threading.Event()

    def keep_writing() -> None:
        at = 0
        while not stop.is_set():
            at += 1
            store.upsert({"id": at, "n": at})

    writer = threading.Thread(target=keep_writing)
    writer.start()
    seen = []
    try:
        count = {"aggregate_by": {"n": ["Count"]}}
        last = {"rank_by": ["id", "desc"], "limit": 1}
        for _ in range(25):
            seen.append(store.ask(queries=[count, last, count, last]))
    finally:
        stop.set()
        writer.join()

    for answer in seen:
        first, row, second, again = answer.body["results"]
        assert (first, row) == (second, again)
        # Ids have no gaps, so the newest tells how many there are.
        assert first["aggregations"]["n"] == row["rows"][0]["id"] + 1 == answer.row_count
    moments = [(a.written_ns, a.row_count) for a in seen]
    assert moments == sorted(moments)
    assert len({written for written, _ in moments}) == len(set(moments)) > 1


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"queries": []}, 400),
        ({"queries": [{}] * 17}, 400),
        ({"queries": {}}, 422),
        ({"queries": [1]}, 422),
        ({"queries": [{"limit": 1}], "limit": 1}, 422),
        ({"queries": [{"rank_by": ["id", "asc"], "limit": 1, "consistency": {}}]}, 422),
    ],
)
def test_several_queries_are_refused(store: Store, body: dict[str, Any], expected: int) -> None:
    store.upsert({"id": 1})

    assert status(store, **body) == expected


def test_the_watermark_moves_with_every_write(store: Store) -> None:
    """Even while the clock stands still."""
    marks = []
    for at in range(3):
        store.upsert({"id": at})
        marks.append(store.ask(rank_by=["id", "asc"], limit=1).written_ns)

    assert marks == sorted(set(marks))


def test_returned_bytes_weigh_values(store: Store) -> None:
    store.upsert(
        {"id": 1, "vector": [1, 2], "s": "héllo", "tags": ["a", "bc"], "ns": [1, 2]}, **EUCLIDEAN
    )

    answer = store.ask(rank_by=["vector", "ANN", [0, 0]], limit=1, include_attributes=True)

    assert answer.returned_bytes == 8 + 4 + 8 + 6 + 3 + 16
