"""Every filter operator, and what each says of documents that lack the attribute."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from services.devstore.database import Database
from services.devstore.errors import DevstoreError
from tests.unit.devstore.conftest import READ_ONLY, Store

ROWS = (
    {"id": 1, "n": 1, "s": "apple", "tags": ["a", "b"], "ns": [1, 5], "b": True},
    {"id": 2, "n": 2, "s": "Banana", "tags": ["b"], "ns": [3], "b": False},
    {"id": 3, "n": 3, "s": "cherry pie", "tags": [], "ns": []},
    {"id": 4},
)
"""4 has nothing but its id; 3 has empty arrays."""


@pytest.fixture(scope="module")
def rows(opened: Database) -> Iterator[Store]:
    store = Store(opened, READ_ONLY + "filters")
    store.upsert(*ROWS)
    yield store
    opened.drop(store.namespace)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["n", "Eq", 2], [2]),
        (["n", "Eq", None], [4]),
        (["n", "NotEq", 2], [1, 3, 4]),
        (["n", "NotEq", None], [1, 2, 3]),
        (["n", "In", [1, 3, 9]], [1, 3]),
        (["n", "In", []], []),
        (["n", "NotIn", [1, 3]], [2, 4]),
        (["n", "NotIn", []], [1, 2, 3, 4]),
        (["n", "Lt", 2], [1, 4]),
        (["n", "Lte", 2], [1, 2, 4]),
        (["n", "Gt", 2], [3]),
        (["n", "Gte", 2], [2, 3]),
        (["n", "Lt", None], []),
        (["n", "Lte", None], [4]),
        (["n", "Gt", None], [1, 2, 3]),
        (["n", "Gte", None], [1, 2, 3, 4]),
        (["b", "Eq", True], [1]),
        (["b", "NotEq", True], [2, 3, 4]),
        (["s", "Glob", "*an*"], [2]),
        (["s", "NotGlob", "*an*"], [1, 3, 4]),
        (["s", "IGlob", "BAN*"], [2]),
        (["s", "NotIGlob", "BAN*"], [1, 3, 4]),
        (["s", "Regex", "^[a-c]"], [1, 3]),
        (["s", "Gt", "apple"], [3]),
        (["tags", "Contains", "b"], [1, 2]),
        (["tags", "NotContains", "b"], [3, 4]),
        (["tags", "ContainsAny", ["a", "z"]], [1]),
        (["tags", "NotContainsAny", ["a", "z"]], [2, 3, 4]),
        (["tags", "In", ["a", "z"]], [1]),
        (["tags", "In", "a"], [1]),
        (["tags", "NotIn", ["a"]], [2, 3, 4]),
        (["tags", "Eq", ["a", "b"]], [1]),
        (["tags", "Eq", []], [3]),
        (["tags", "Eq", None], [4]),
        (["ns", "AnyLt", 3], [1]),
        (["ns", "AnyLte", 3], [1, 2]),
        (["ns", "AnyGt", 4], [1]),
        (["ns", "AnyGte", 3], [1, 2]),
        (["id", "Gt", 2], [3, 4]),
        (["id", "Lte", 2], [1, 2]),
        (["id", "In", [2, 4, 7]], [2, 4]),
        (["id", "NotIn", [2, 4, 7]], [1, 3]),
        (["id", "NotEq", 1], [2, 3, 4]),
        (["And", [["n", "Gt", 1], ["b", "Eq", False]]], [2]),
        (["Or", [["n", "Eq", 1], ["id", "Eq", 4]]], [1, 4]),
        (["Not", ["n", "Lt", 2]], [2, 3]),
        (["Not", ["n", "Gt", 2]], [1, 2, 4]),
        (["Not", ["Not", ["n", "Gt", 2]]], [3]),
        (["And", []], [1, 2, 3, 4]),
        (["Or", []], []),
    ],
)
def test_an_operator_matches(rows: Store, filters: list[Any], expected: list[int]) -> None:
    assert rows.ids(filters) == expected


@pytest.mark.parametrize(
    ("filters", "status"),
    [
        (["absent", "Eq", 1], 400),
        (["n", "Eq", "one"], 400),
        (["n", "Eq", 1.5], 400),
        (["n", "Eq", True], 400),
        (["n", "Between", 1], 400),
        (["n", "NotLt", 1], 400),
        (["n", "Contains", 1], 400),
        (["tags", "ContainsAny", "a"], 400),
        (["ns", "Eq", [2**70]], 400),
        (["n", "AnyLt", 1], 400),
        (["n", "Glob", "*"], 400),
        (["s", "Regex", "("], 400),
        (["s", "Contains", "a"], 400),
        (["s", "Fuzzy", "aple", {"max_edit_distance": []}], 400),
        (["s", "ContainsAllTokens", "a"], 400),
        (["s", "Eq", "a", {"last_as_prefix": True}], 400),
        (["tags", "Lt", "b"], 400),
        (["tags", "Eq", "b"], 400),
        (["tags", "Contains", 1], 400),
        (["tags", "Contains", None], 400),
        (["ns", "AnyGt", "x"], 400),
        (["n", "In", [1, None]], 422),
        (["n", "NotIn", [None]], 422),
        (["n", "In", 1], 422),
        ("n", 422),
        ([], 422),
        (["n"], 422),
        (["And", ["n", "Eq", 1]], 422),
        ([1, 2, 3], 422),
        (["n", "Eq", 1, 2], 422),
    ],
)
def test_a_filter_is_refused(rows: Store, filters: Any, status: int) -> None:
    with pytest.raises(DevstoreError) as refused:
        rows.ids(filters)

    assert refused.value.status == status


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        (["tags", "ContainsAny", "a"], 'ContainsAny expects []string, but got "a"'),
        (["tags", "NotContainsAny", "a"], 'NotContainsAny expects []string, but got "a"'),
        (["tags", "Contains", ["a", "b"]], 'Contains expects string, but got ["a", "b"]'),
        (["tags", "NotContains", ["a"]], 'NotContains expects string, but got ["a"]'),
    ],
)
def test_a_mismatch_says_what_was_expected(rows: Store, filters: Any, message: str) -> None:
    with pytest.raises(DevstoreError) as refused:
        rows.ids(filters)

    assert refused.value.message == f"filter error in key `tags`: type mismatch, {message}"


def test_nesting_is_bounded(rows: Store) -> None:
    filters: list[Any] = ["n", "Eq", 1]
    for _ in range(70):
        filters = ["Not", filters]

    with pytest.raises(DevstoreError, match="too deep"):
        rows.ids(filters)


def test_an_attribute_that_is_not_filterable_is_refused(store: Store) -> None:
    store.upsert(
        {"id": 1, "text": "a b", "vector": [1, 2], "raw": "AA==", "off": "x"},
        distance_metric="cosine_distance",
        schema={
            "text": {"type": "string", "full_text_search": True},
            "raw": "bytes",
            "off": {"type": "string", "filterable": False},
        },
    )

    for name, value in (("text", "a b"), ("vector", [1, 2]), ("raw", "AA=="), ("off", "x")):
        with pytest.raises(DevstoreError, match="not filterable"):
            store.ids([name, "Eq", value])


INJECTIONS = (
    "'; DROP TABLE namespaces; --",
    '" OR 1=1 --',
    "x') OR ('1'='1",
    "a$1",
    "?",
    "{column}",
    "a\\'b",
    "naïve 🤷 ключ",
    " leading and trailing ",
    "a\tb\nc",
    "nul \x00 inside",
)


@pytest.mark.parametrize("text", INJECTIONS)
def test_values_and_names_never_become_sql(store: Store, text: str) -> None:
    store.upsert({"id": 1, text: text, "tags": [text]}, {"id": 2, text: "other"})

    assert store.rows() == [
        {"id": 1, text: text, "tags": [text]},
        {"id": 2, text: "other"},
    ]
    assert store.ids([text, "Eq", text]) == [1]
    assert store.ids([text, "In", [text]]) == [1]
    assert store.ids([text, "NotEq", text]) == [2]
    assert store.ids(["tags", "Contains", text]) == [1]
    assert store.ids(rank_by=[text, "asc"]) == ([1, 2] if text < "other" else [2, 1])
    assert store.groups(text, filters=[text, "Eq", text]) == [{text: text, "n": 1}]
    assert store.groups(
        {text + "2": ["ForEachUnique", "tags"]}, aggregate_by={text: ["Count"]}
    ) == [
        {text + "2": None, text: 1},
        {text + "2": text, text: 1},
    ]


def test_names_differ_by_case(store: Store) -> None:
    store.upsert({"id": 1, "a": 1, "A": "one", "select": True, "c0": 5})

    assert store.rows() == [{"id": 1, "a": 1, "A": "one", "select": True, "c0": 5}]
    assert store.ids(["And", [["a", "Eq", 1], ["A", "Eq", "one"]]]) == [1]
