"""Conditional writes, as turbopuffer.com/docs/write#conditional-writes has them."""

from __future__ import annotations

from typing import Any

import pytest

from services.devstore.errors import DevstoreError
from services.devstore.write import Written
from tests.unit.devstore.conftest import Store

NEWER = ["Or", [["version", "Lt", {"$ref_new": "version"}], ["version", "Eq", None]]]


@pytest.fixture
def versions(store: Store) -> Store:
    store.upsert(
        {"id": 1, "version": 10, "text": "one"},
        {"id": 2, "version": 20, "text": "two"},
        {"id": 3, "text": "three"},
    )
    return store


def texts(store: Store) -> dict[int, str]:
    return {row["id"]: row["text"] for row in store.rows()}


def test_an_upsert_is_made_where_the_condition_holds_or_nothing_is(versions: Store) -> None:
    rows = [{"id": i, "version": 15, "text": "new"} for i in (1, 2, 3, 4)]

    written = versions.upsert(*rows, upsert_condition=NEWER)

    assert written == Written(upserted=[1, 3, 4])
    assert texts(versions) == {1: "new", 2: "two", 3: "new", 4: "new"}


def test_each_row_is_compared_with_its_own_values(versions: Store) -> None:
    rows = [
        {"id": 1, "version": 10, "text": "as old"},
        {"id": 2, "version": 21, "text": "newer"},
        {"id": 3, "text": "without"},
    ]

    versions.upsert(*rows, upsert_condition=NEWER)

    assert texts(versions) == {1: "one", 2: "newer", 3: "without"}


def test_insert_if_absent(versions: Store) -> None:
    written = versions.upsert(
        {"id": 1, "text": "again"}, {"id": 9, "text": "new"}, upsert_condition=["id", "Eq", None]
    )

    assert written.upserted == [9]
    assert texts(versions) == {1: "one", 2: "two", 3: "three", 9: "new"}


def test_a_condition_makes_a_new_namespace_all_the_same(store: Store) -> None:
    written = store.upsert({"id": 1, "version": 1, "text": "x"}, upsert_condition=NEWER)

    assert written.upserted == [1]


def test_patches_are_made_where_the_condition_holds(versions: Store) -> None:
    written = versions.write(
        patch_columns={"id": [1, 2, 3, 9], "version": [11, 11, 11, 11], "text": ["new"] * 4},
        patch_condition=NEWER,
    )

    assert sorted(written.patched) == [1, 3]
    assert texts(versions) == {1: "new", 2: "two", 3: "new"}


def test_deletes_are_made_where_the_condition_holds(versions: Store) -> None:
    condition = ["Or", [["version", "Gt", 15], ["version", "Eq", {"$ref_new": "version"}]]]

    written = versions.write(deletes=[1, 2, 3, 9], delete_condition=condition)

    # References are null for deletes, and an id that no document has is not counted.
    assert sorted(written.deleted) == [2, 3]
    assert texts(versions) == {1: "one"}


def test_conditions_see_what_filters_of_the_same_request_did(versions: Store) -> None:
    written = versions.write(
        delete_by_filter=["id", "Eq", 2],
        patch_by_filter={"filters": ["id", "Eq", 1], "patch": {"version": 99}},
        upsert_rows=[{"id": i, "version": 50, "text": "new"} for i in (1, 2)],
        upsert_condition=NEWER,
    )

    assert written == Written(upserted=[2], patched=[1], deleted=[2])
    assert texts(versions) == {1: "one", 2: "new", 3: "three"}


def test_a_condition_may_be_of_any_operator(store: Store) -> None:
    schema = {"t": {"type": "string", "full_text_search": True}}
    store.upsert({"id": 1, "t": "red fox"}, {"id": 2, "t": "blue fox"}, schema=schema)

    written = store.write(
        patch_rows=[{"id": 1, "seen": True}, {"id": 2, "seen": True}],
        patch_condition=["Not", ["t", "ContainsAllTokens", "red"]],
    )

    assert written.patched == [2]


def test_a_list_may_hold_references(versions: Store) -> None:
    condition = ["text", "In", ["two", {"$ref_new": "text"}]]

    written = versions.upsert(
        {"id": 1, "text": "one"}, {"id": 2, "text": "x"}, {"id": 3, "text": "x"},
        upsert_condition=condition,
    )  # fmt: skip

    assert sorted(written.upserted) == [1, 2]


@pytest.mark.parametrize(
    "condition",
    [
        ["absent", "Eq", 1],
        ["version", "Eq", {"$ref_new": "absent"}],
        ["version", "Eq", {"$ref_new": 5}],
        ["version", "Eq", {"$ref_new": "text"}],
        ["version", "Eq", {"$other": "version"}],
        ["version", "Near", 5],
    ],
)
def test_a_condition_that_makes_no_sense_is_refused(versions: Store, condition: Any) -> None:
    with pytest.raises(DevstoreError) as refused:
        versions.upsert({"id": 1, "text": "new"}, upsert_condition=condition)

    assert refused.value.status == 400
    assert texts(versions)[1] == "one"


def test_many_rows_share_few_questions(store: Store) -> None:
    store.upsert(*({"id": i, "version": i % 3} for i in range(5000)))

    written = store.upsert(*({"id": i, "version": 1} for i in range(6000)), upsert_condition=NEWER)

    assert len(written.upserted) == 1000 + len([i for i in range(5000) if i % 3 == 0])
