"""Writes: order, patches, deletes, refusals, copies; all or nothing."""

from __future__ import annotations

from typing import Any

import pytest

from services.devstore.errors import DevstoreError
from tests.unit.devstore.conftest import Store

COSINE = {"distance_metric": "cosine_distance"}


def refused(store: Store, **body: Any) -> int:
    with pytest.raises(DevstoreError) as error:
        store.write(**body)
    return error.value.status


def test_an_upsert_replaces_the_whole_document(store: Store) -> None:
    store.upsert({"id": 1, "a": 1, "b": 2})

    written = store.upsert({"id": 1, "a": 3}, {"id": 2, "b": 4})

    assert written.upserted == [1, 2]
    assert store.rows() == [{"id": 1, "a": 3}, {"id": 2, "b": 4}]


def test_columns_are_rows(store: Store) -> None:
    store.write(upsert_columns={"id": [1, 2], "a": ["x", None]})
    store.write(patch_columns={"id": [2], "a": ["y"]})

    assert store.rows() == [{"id": 1, "a": "x"}, {"id": 2, "a": "y"}]
    assert refused(store, upsert_columns={"id": [1, 2], "a": ["x"]}) == 400
    assert refused(store, upsert_columns={"a": ["x"]}) == 400


def test_a_patch_keeps_the_rest_and_the_vector(store: Store) -> None:
    store.upsert({"id": 1, "vector": [0.1, 0.2], "a": 1, "b": 2, "tags": ["x"]}, **COSINE)

    written = store.write(patch_rows=[{"id": 1, "b": None, "c": "new"}, {"id": 9, "a": 1}])

    assert written.patched == [1]
    assert store.rows() == [{"id": 1, "vector": [0.1, 0.2], "a": 1, "tags": ["x"], "c": "new"}]


def test_vectors_cannot_be_patched(store: Store) -> None:
    store.upsert({"id": 1, "vector": [0.1, 0.2]}, **COSINE)

    assert refused(store, patch_rows=[{"id": 1, "vector": [1, 2]}]) == 400
    by_filter = {"filters": ["id", "Eq", 1], "patch": {"vector": [1, 2]}}
    assert refused(store, patch_by_filter=by_filter) == 400


def test_filters_delete_and_patch(store: Store) -> None:
    store.upsert(*({"id": i, "n": i} for i in range(6)))

    deleted = store.write(delete_by_filter=["n", "Gte", 4]).deleted
    patched = store.write(
        patch_by_filter={"filters": ["n", "Gte", 2], "patch": {"n": 9, "s": "x"}}
    ).patched

    assert (sorted(deleted), sorted(patched)) == ([4, 5], [2, 3])
    assert [row["n"] for row in store.rows()] == [0, 1, 9, 9]


def test_text_filters_see_what_the_same_request_deleted(store: Store) -> None:
    store.upsert(
        {"id": 1, "t": "red fox", "n": 1},
        {"id": 2, "t": "red hen", "n": 2},
        schema={"t": {"type": "string", "full_text_search": True}},
    )
    red = ["t", "ContainsAllTokens", "red"]

    written = store.write(
        delete_by_filter=["n", "Eq", 1], patch_by_filter={"filters": red, "patch": {"n": 7}}
    )

    assert (written.deleted, written.patched) == ([1], [2])
    assert store.ids(red) == [2]
    with pytest.raises(DevstoreError):
        store.write(delete_by_filter=red, deletes=["not an id"])
    assert store.ids(red) == [2]


def test_the_order_is_delete_by_filter_then_patch_by_filter_then_the_rest(store: Store) -> None:
    store.upsert({"id": 1, "n": 1}, {"id": 2, "n": 2}, {"id": 3, "n": 3})

    written = store.write(
        delete_by_filter=["n", "Eq", 1],
        patch_by_filter={"filters": ["n", "Lte", 2], "patch": {"n": 1}},
        upsert_rows=[{"id": 1, "n": 50}],
        deletes=[3],
    )

    assert (written.deleted, written.patched, written.upserted) == ([1, 3], [2], [1])
    assert store.rows() == [{"id": 1, "n": 50}, {"id": 2, "n": 1}]


def test_deletes_of_missing_ids_count(store: Store) -> None:
    store.upsert({"id": 1})

    assert store.write(deletes=[1, 2, 3]).deleted == [1, 2, 3]
    assert store.rows() == []


@pytest.mark.parametrize(
    "body",
    [
        {"upsert_rows": [{"id": 1}, {"id": 1}]},
        {"upsert_rows": [{"id": 1}], "deletes": [1]},
        {"upsert_rows": [{"id": 1}], "patch_rows": [{"id": 1}]},
        {"deletes": [1, 1]},
        {"upsert_rows": [{"id": 1}, {"id": 1.0}]},
        {"upsert_rows": [{"a": 1}]},
        {"upsert_rows": [{"id": None}]},
        {"upsert_rows": [{"id": 2, "n": "text"}]},
        {"patch_by_filter": {"filters": ["id", "Eq", 1], "patch": {"id": 2}}},
        {"delete_by_filter": ["absent", "Eq", 1]},
        {"encryption": {"mode": "customer-managed", "key_name": "k"}},
        {"upsert_rows": [{"id": 5}], "copy_from_namespace": "n"},
        {"copy_from_namespace": "n"},
    ],
)
def test_a_request_is_refused_and_changes_nothing(store: Store, body: dict[str, Any]) -> None:
    store.upsert({"id": 1, "n": 1})

    assert refused(store, **body) == 400
    assert store.rows() == [{"id": 1, "n": 1}]


def test_ids_are_compared_as_they_are_kept(store: Store) -> None:
    text = "6f1c2b0a-0000-4000-8000-00000000000a"

    store.upsert({"id": text.upper()}, schema={"id": "uuid"})

    assert refused(store, upsert_rows=[{"id": text}, {"id": text.upper()}]) == 400
    assert store.ids(["id", "In", [text.upper()]]) == [text]
    store.write(deletes=[text.upper()])
    assert store.rows() == []


@pytest.mark.parametrize(
    "body",
    [
        {"upsert_rows": {"id": 1}},
        {"upsert_rows": [1]},
        {"upsert_columns": [1]},
        {"upsert_columns": {"id": 1}},
        {"deletes": 1},
        {"schema": []},
        {"schema": {"x": 5}},
        {"distance_metric": "manhattan"},
        {"patch_by_filter": {"filters": ["n", "Eq", 1]}},
        {"delete_by_filter": "n"},
        {"create_namespace": "yes"},
        {"copy_from_namespace": 5},
    ],
)
def test_a_body_of_another_shape_is_refused(store: Store, body: dict[str, Any]) -> None:
    store.upsert({"id": 1, "n": 1})

    assert refused(store, **body) == 422


def test_nothing_is_kept_of_a_request_that_fails_late(store: Store) -> None:
    store.upsert({"id": 1, "n": 1})

    assert refused(store, delete_by_filter=["n", "Eq", 1], upsert_rows=[{"id": 2, "n": "x"}]) == 400
    assert refused(store, upsert_rows=[{"id": 2, "new": 5, "n": "x"}]) == 400
    assert store.rows() == [{"id": 1, "n": 1}]
    store.upsert({"id": 2, "new": "a text after all"})


def test_vectors_need_a_metric_that_never_changes(store: Store) -> None:
    assert refused(store, upsert_rows=[{"id": 1, "vector": [1, 2]}]) == 400
    store.upsert({"id": 1, "vector": [1, 2]}, **COSINE)
    store.upsert({"id": 2, "vector": [1, 2]})

    assert refused(store, distance_metric="euclidean_squared") == 400
    assert refused(store, upsert_rows=[{"id": 3, "vector": [1, 2, 3]}]) == 400


def test_a_namespace_is_made_by_documents_or_on_request(store: Store) -> None:
    assert refused(store, schema={"x": "int"}) == 404
    assert refused(store, delete_by_filter=["x", "Eq", 1]) == 404
    assert refused(store, upsert_rows=[{"id": 1}], create_namespace=False) == 404
    store.write(create_namespace=True)

    assert store.rows() == []
    store.upsert({"id": 1}, create_namespace=False)
    assert store.ids() == [1]


@pytest.mark.parametrize("key", ["copy_from_namespace", "branch_from_namespace"])
def test_a_copy_is_a_namespace_of_its_own(store: Store, key: str) -> None:
    store.upsert({"id": 1, "a b": [1], "vector": [1, 0]}, **COSINE)

    store.write("copy", **{key: "n"})
    store.upsert({"id": 2, "vector": [0, 1]})

    assert store.rows("copy") == [{"id": 1, "a b": [1], "vector": [1.0, 0.0]}]
    with pytest.raises(DevstoreError) as absent:
        store.write("other", **{key: "absent"})
    assert absent.value.status == 404
