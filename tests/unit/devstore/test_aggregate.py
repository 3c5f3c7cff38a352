"""Aggregations and groups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from services.devstore.database import Database
from services.devstore.errors import DevstoreError
from tests.unit.devstore.conftest import READ_ONLY, Store


@pytest.fixture(scope="module")
def rows(opened: Database) -> Iterator[Store]:
    store = Store(opened, READ_ONLY + "aggregate")
    store.upsert(
        {"id": 1, "color": "red", "size": 1, "price": 0.5, "tags": ["a", "b", "a"]},
        {"id": 2, "color": "blue", "size": 2, "price": 1.5, "tags": ["b"]},
        {"id": 3, "color": "red", "size": 2, "tags": []},
        {"id": 4, "size": -5},
    )
    yield store
    opened.drop(store.namespace)


def test_sums_and_counts(rows: Store) -> None:
    wanted = {"n": ["Count"], "m": ["Count", "id"], "size": ["Sum", "size"], "p": ["Sum", "price"]}

    everything = rows.ask(aggregate_by=wanted).body
    nothing = rows.ask(aggregate_by=wanted, filters=["size", "Gt", 99]).body

    assert everything == {"aggregations": {"n": 4, "m": 4, "size": 0, "p": 2.0}}
    assert nothing == {"aggregations": {"n": 0, "m": 0, "size": 0, "p": 0.0}}


def test_groups_are_in_key_order_with_null_first(rows: Store) -> None:
    assert rows.groups("color", aggregate_by={"n": ["Count"], "s": ["Sum", "size"]}) == [
        {"color": None, "n": 1, "s": -5},
        {"color": "blue", "n": 1, "s": 2},
        {"color": "red", "n": 2, "s": 3},
    ]
    assert rows.groups("color", "size", filters=["id", "Lte", 3]) == [
        {"color": "blue", "size": 2, "n": 1},
        {"color": "red", "size": 1, "n": 1},
        {"color": "red", "size": 2, "n": 1},
    ]


def test_array_elements_count_once_per_document(rows: Store) -> None:
    """No attribute is the null group; an empty array is in no group."""
    each = {"tag": ["ForEachUnique", "tags"]}

    assert rows.groups(each) == [
        {"tag": None, "n": 1},
        {"tag": "a", "n": 1},
        {"tag": "b", "n": 2},
    ]
    assert rows.groups("color", each, filters=["id", "Lte", 2]) == [
        {"color": "blue", "tag": "b", "n": 1},
        {"color": "red", "tag": "a", "n": 1},
        {"color": "red", "tag": "b", "n": 1},
    ]


def test_groups_after_top_k_are_cut_silently(rows: Store) -> None:
    assert [g["color"] for g in rows.groups("color", top_k=2)] == [None, "blue"]
    assert rows.groups("color", top_k=0) == []
    assert len(rows.groups("color", top_k=None)) == 3


def test_at_most_ten_thousand_groups(store: Store) -> None:
    store.upsert(*({"id": i, "k": i} for i in range(10_001)))

    groups = store.groups("k")

    assert len(groups) == 10_000
    assert groups[-1] == {"k": 9_999, "n": 1}


def test_an_empty_group_by_is_none(rows: Store) -> None:
    answer = rows.ask(aggregate_by={"n": ["Count"]}, group_by=[]).body

    assert answer == {"aggregations": {"n": 4}}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"group_by": ["color"], "limit": 5}, 422),
        ({"rank_by": ["id", "asc"]}, 422),
        ({"offset": 1}, 422),
        ({"include_attributes": True}, 422),
        ({"aggregate_by": []}, 422),
        ({"group_by": "color"}, 422),
        ({"group_by": [5]}, 422),
        ({"group_by": [{}]}, 422),
        ({"aggregate_by": {}}, 400),
        ({"aggregate_by": {str(i): ["Count"] for i in range(9)}}, 400),
        ({"aggregate_by": {"n": ["Max", "size"]}}, 400),
        ({"aggregate_by": {"n": ["Sum", "color"]}}, 400),
        ({"aggregate_by": {"n": ["Sum", "absent"]}}, 400),
        ({"aggregate_by": {"n": ["Sum"]}}, 400),
        ({"aggregate_by": {"n": "Count"}}, 400),
        ({"top_k": 5}, 400),
        ({"group_by": ["color"], "top_k": 10_001}, 400),
        ({"group_by": ["color"], "top_k": -1}, 400),
        ({"group_by": ["id"]}, 400),
        ({"group_by": ["tags"]}, 400),
        ({"group_by": ["absent"]}, 400),
        ({"group_by": ["color", "color"]}, 400),
        ({"group_by": ["color"], "aggregate_by": {"color": ["Count"]}}, 400),
        ({"group_by": [{"t": ["ForEachUnique", "color"]}]}, 400),
        ({"group_by": [{"t": ["ForEach", "tags"]}]}, 400),
        ({"group_by": [{"t": ["ForEachUnique", "tags"]}, {"u": ["ForEachUnique", "tags"]}]}, 400),
    ],
)
def test_an_aggregation_is_refused(rows: Store, body: dict[str, Any], status: int) -> None:
    with pytest.raises(DevstoreError) as refused:
        rows.ask(**{"aggregate_by": {"n": ["Count"]}, **body})

    assert refused.value.status == status


def test_the_refused_limit_names_what_is_expected(rows: Store) -> None:
    with pytest.raises(
        DevstoreError,
        match="unknown field `limit`, expected one of "
        "`aggregate_by`, `filters`, `group_by`, `top_k`",
    ):
        rows.groups("color", limit=5)
