"""Reciprocal rank fusion of several queries."""

from __future__ import annotations

from typing import Any

import pytest

from services.devstore.errors import DevstoreError
from tests.unit.devstore.conftest import Store

TEXT: dict[str, Any] = {"rank_by": ["t", "BM25", "fox"], "limit": 10, "include_attributes": ["t"]}
NEAR: dict[str, Any] = {"rank_by": ["vector", "ANN", [0, 0]], "limit": 3}
BY_ID: dict[str, Any] = {"rank_by": ["id", "desc"], "limit": 2, "include_attributes": ["n"]}


@pytest.fixture
def foxes(store: Store) -> Store:
    store.upsert(
        {"id": 1, "t": "fox", "n": 10, "vector": [3, 0]},
        {"id": 2, "t": "fox fox fox", "n": 20, "vector": [2, 0]},
        {"id": 3, "t": "hen", "n": 30, "vector": [1, 0]},
        {"id": 4, "t": "cow", "n": 40, "vector": [9, 9]},
        distance_metric="euclidean_squared",
        schema={"t": {"type": "string", "full_text_search": True}},
    )
    return store


def fused(store: Store, *queries: Any, rerank_by: Any = None, **body: Any) -> list[dict[str, Any]]:
    answer = store.ask(queries=list(queries), rerank_by=rerank_by or ["RRF"], **body).body
    ((only,),) = [answer["results"]]
    rows: list[dict[str, Any]] = only["rows"]
    return rows


def test_ranks_add_up(foxes: Store) -> None:
    rows = fused(foxes, TEXT, NEAR)

    # By text 2, 1; by distance 3, 2, 1.
    assert [row["id"] for row in rows] == [2, 1, 3]
    assert [row["$dist"] for row in rows] == pytest.approx(
        [1 / 61 + 1 / 62, 1 / 62 + 1 / 63, 1 / 61]
    )


def test_weights_and_the_constant_count(foxes: Store) -> None:
    rows = fused(foxes, TEXT, NEAR, rerank_by=["RRF", {"rank_constant": 1, "weights": [1, 5]}])

    assert [(row["id"], row["$dist"]) for row in rows] == [
        (3, pytest.approx(5 / 2)),
        (2, pytest.approx(1 / 2 + 5 / 3)),
        (1, pytest.approx(1 / 3 + 5 / 4)),
    ]


def test_a_row_has_the_attributes_of_all_its_queries(foxes: Store) -> None:
    rows = fused(foxes, TEXT, {**BY_ID, "filters": ["id", "Lte", 2]})

    assert rows[0] == {"id": 2, "t": "fox fox fox", "n": 20, "$dist": pytest.approx(2 / 61)}


def test_equal_scores_are_in_the_order_of_ids(foxes: Store) -> None:
    rows = fused(
        foxes, {"rank_by": ["id", "desc"], "limit": 2}, {"rank_by": ["id", "asc"], "limit": 2}
    )

    assert [row["id"] for row in rows] == [1, 4, 2, 3]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, [2, 1, 3]),
        ({"limit": 2}, [2, 1]),
        ({"limit": {"total": 1}}, [2]),
        ({"limit": 5, "offset": 1}, [1, 3]),
        ({"limit": 5, "offset": 9}, []),
    ],
)
def test_the_fused_list_has_a_window(
    foxes: Store, body: dict[str, Any], expected: list[int]
) -> None:
    assert [row["id"] for row in fused(foxes, TEXT, NEAR, **body)] == expected


COUNT: dict[str, Any] = {"aggregate_by": {"n": ["Count"]}}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"queries": [TEXT]}, 400),
        ({"queries": [TEXT, COUNT]}, 400),
        ({"rerank_by": ["RRF", {"rank_constant": 0}]}, 400),
        ({"rerank_by": ["RRF", {"weights": [1]}]}, 400),
        ({"rerank_by": ["RRF", {"weights": [1, 0]}]}, 400),
        ({"offset": 1}, 400),
        ({"limit": 10_000, "offset": 1}, 400),
        ({"rerank_by": ["Linear"]}, 422),
        ({"rerank_by": "RRF"}, 422),
        ({"rerank_by": []}, 422),
        ({"rerank_by": ["RRF", {"rank_constant": 1.5}]}, 422),
        ({"rerank_by": ["RRF", {"weights": ["1", 1]}]}, 422),
        ({"rerank_by": ["RRF", {"k": 1}]}, 422),
        ({"rerank_by": ["RRF", []]}, 422),
        ({"rank_by": ["id", "asc"]}, 422),
        ({"rerank_by": None, "limit": 1}, 422),
    ],
)
def test_a_fusion_is_refused(foxes: Store, body: dict[str, Any], expected: int) -> None:
    with pytest.raises(DevstoreError) as refused:
        foxes.ask(**{"queries": [TEXT, NEAR], "rerank_by": ["RRF"], **body})

    assert refused.value.status == expected
