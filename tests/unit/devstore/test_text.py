"""Full-text search: BM25, its sums, token filters, options."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from services.devstore.database import Database
from services.devstore.errors import DevstoreError
from tests.unit.devstore.conftest import READ_ONLY, Store

TEXT = {"type": "string", "full_text_search": True}


def search(store: Store, rank_by: Any, **body: Any) -> dict[int, float]:
    return {row["id"]: row["$dist"] for row in store.rows(rank_by=rank_by, **body)}


@pytest.fixture(scope="module")
def rows(opened: Database) -> Iterator[Store]:
    store = Store(opened, READ_ONLY + "text")
    store.upsert(
        {"id": 1, "title": "The Quick Brown Fox", "body": "jumps over the lazy dog"},
        {"id": 2, "title": "the lazy dog", "body": "is brown"},
        {"id": 3, "title": "brown brown brown"},
        {"id": 4},
        schema={"title": TEXT, "body": TEXT},
    )
    yield store
    opened.drop(store.namespace)


def test_rows_without_a_score_are_left_out(rows: Store) -> None:
    assert list(search(rows, ["title", "BM25", "fox"])) == [1]
    assert list(search(rows, ["title", "BM25", "BROWN"])) == [3, 1]
    assert search(rows, ["title", "BM25", "absent"]) == {}
    assert search(rows, ["title", "BM25", ""]) == {}
    assert list(search(rows, ["title", "BM25", ["lazy", "fox"]])) in ([1, 2], [2, 1])
    assert list(search(rows, ["title", "BM25", "brown"], filters=["id", "Lt", 3])) == [1]


def test_the_last_token_may_be_a_prefix(rows: Store) -> None:
    whole = ["title", "BM25", "qui"]

    assert search(rows, whole) == {}
    assert list(search(rows, [*whole, {"last_as_prefix": True}])) == [1]


def test_scores_combine(rows: Store) -> None:
    title = search(rows, ["title", "BM25", "brown"])
    body = search(rows, ["body", "BM25", "brown"])
    both = [["title", "BM25", "brown"], ["body", "BM25", "brown"]]

    assert set(title) == {1, 3}
    assert set(body) == {2}
    assert search(rows, ["Sum", both]) == pytest.approx({**title, **body})
    assert search(rows, ["Max", both]) == pytest.approx({**title, **body})
    assert search(rows, ["Sum", [both[0], both[0]]]) == pytest.approx(
        {key: score * 2 for key, score in title.items()}
    )
    half = {key: score / 2 for key, score in title.items()}
    assert search(rows, ["Product", 0.5, both[0]]) == pytest.approx(half)
    assert search(rows, ["Product", both[0], 0.5]) == pytest.approx(half)
    assert search(rows, ["Product", 0, both[0]]) == {}


def test_equal_scores_are_in_the_order_of_ids(store: Store) -> None:
    store.upsert(*({"id": i, "t": "same words"} for i in (7, 3, 5)), schema={"t": TEXT})

    assert list(search(store, ["t", "BM25", "words"])) == [3, 5, 7]


def test_a_write_is_found_by_the_next_search(store: Store) -> None:
    store.upsert({"id": 1, "t": "fox"}, schema={"t": TEXT})
    wanted = ["t", "BM25", "walrus"]
    assert search(store, wanted) == {}

    store.upsert({"id": 5, "t": "walrus"})
    assert list(search(store, wanted)) == [5]
    store.write(patch_rows=[{"id": 1, "t": "a walrus too"}], deletes=[5])
    assert list(search(store, wanted)) == [1]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["title", "ContainsAllTokens", "dog lazy"], [2]),
        (["title", "ContainsAllTokens", ["brown", "fox"]], [1]),
        (["title", "ContainsAllTokens", "dog fox"], []),
        (["title", "ContainsAnyToken", "dog fox"], [1, 2]),
        (["title", "ContainsAllTokens", "brown fo"], []),
        (["title", "ContainsAllTokens", "brown fo", {"last_as_prefix": True}], [1]),
        (["title", "ContainsAnyToken", "zzz do", {"last_as_prefix": True}], [2]),
        (["title", "ContainsTokenSequence", "lazy dog"], [2]),
        (["title", "ContainsTokenSequence", "dog lazy"], []),
        (["title", "ContainsTokenSequence", "dog"], [2]),
        (["Not", ["title", "ContainsAnyToken", "dog fox"]], [3, 4]),
        (["And", [["title", "ContainsAnyToken", "brown"], ["id", "Gt", 1]]], [3]),
        (["title", "ContainsAnyToken", ""], []),
        (["title", "ContainsAllTokens", ".*"], [1, 2, 3]),
    ],
)
def test_token_filters(rows: Store, filters: list[Any], expected: list[int]) -> None:
    assert rows.ids(filters) == expected


def test_a_prefix_is_no_pattern(store: Store) -> None:
    options = {"type": "[]string", "full_text_search": {"tokenizer": "pre_tokenized_array"}}
    store.upsert({"id": 1, "t": ["a.c"]}, {"id": 2, "t": ["abc"]}, schema={"t": options})

    assert list(search(store, ["t", "BM25", ["a."], {"last_as_prefix": True}])) == [1]


@pytest.mark.parametrize(
    ("options", "text", "query", "is_found"),
    [
        ({}, "Walruses", "walrus", False),
        ({"stemming": True}, "Walruses", "walrus", True),
        ({"stemming": True, "language": "german"}, "Häuser", "haus", True),
        ({}, "Walrus", "wALRUS", True),
        ({"case_sensitive": True}, "Walrus", "walrus", False),
        ({}, "café", "cafe", False),
        ({"ascii_folding": True}, "café", "cafe", True),
        ({}, "the fox", "the", True),
        ({"remove_stopwords": True}, "the fox", "the", False),
        ({}, "x" * 39, "x" * 39, True),
        ({}, "x" * 40, "x" * 40, False),
    ],
)
def test_options_of_tokens(
    store: Store, options: dict[str, Any], text: str, query: str, is_found: bool
) -> None:
    schema = {"t": {"type": "string", "full_text_search": options or True}}
    store.upsert({"id": 1, "t": text}, schema=schema)

    assert bool(search(store, ["t", "BM25", query])) is is_found
    assert bool(store.ids(["t", "ContainsAnyToken", query])) is is_found


def test_new_options_count_at_once(store: Store) -> None:
    store.upsert({"id": 1, "t": "walruses"}, schema={"t": TEXT})
    assert search(store, ["t", "BM25", "walrus"]) == {}

    store.write(schema={"t": {"type": "string", "full_text_search": {"stemming": True}}})

    assert list(search(store, ["t", "BM25", "walrus"])) == [1]


def test_tokens_that_are_given_need_an_array(store: Store) -> None:
    options = {"type": "[]string", "full_text_search": {"tokenizer": "pre_tokenized_array"}}
    store.upsert({"id": 1, "t": ["New York", "x"]}, {"id": 2, "t": []}, schema={"t": options})

    assert list(search(store, ["t", "BM25", ["New York"]])) == [1]
    assert search(store, ["t", "BM25", ["york"]]) == {}
    with pytest.raises(DevstoreError, match=r'for rank_by field "t", expecting \[\]string'):
        search(store, ["t", "BM25", "x"])


def test_arrays_are_split_into_tokens_too(store: Store) -> None:
    options = {"type": "[]string", "full_text_search": {"stemming": True}}
    store.upsert(
        {"id": 1, "t": ["lazy", "dogs sleep"]}, {"id": 2, "t": ["lazy dogs"]}, schema={"t": options}
    )

    assert set(search(store, ["t", "BM25", "dog"])) == {1, 2}
    assert store.ids(["t", "ContainsAllTokens", "sleep lazy"]) == [1]
    # A sequence is one within an element.
    assert store.ids(["t", "ContainsTokenSequence", "lazy dogs"]) == [2]


TUNED_TEXTS = ("fox", "fox fox fox", "fox and a long tail of words", "hen", "foxes")


def tuned(store: Store, rank_by: Any, **options: float) -> dict[int, float]:
    schema = {"t": {"type": "string", "full_text_search": options or True}}
    rows = [{"id": i, "t": text} for i, text in enumerate(TUNED_TEXTS, 1)]
    store.upsert(*rows, schema=schema)
    return search(store, rank_by)


def test_parameters_that_are_almost_the_defaults_give_almost_the_same_scores(store: Store) -> None:
    """Two implementations agree: tantivy's and our own."""
    for query in ("fox", "fox tail", "hen absent", "", "absent"):
        default = tuned(store, ["t", "BM25", query])
        own = tuned(store, ["t", "BM25", query], k1=1.2000001, b=0.7500001)
        assert own == pytest.approx(default, rel=1e-5)
        assert list(own) == list(default)


def test_parameters_of_bm25_count(store: Store) -> None:
    fox = ["t", "BM25", "fox"]
    plain = tuned(store, fox)
    flat = tuned(store, fox, b=0)
    once = tuned(store, fox, k1=0.000001)
    steep = tuned(store, fox, k1=100)

    assert plain[1] > plain[3]
    assert flat[1] == pytest.approx(flat[3])
    assert once[2] == pytest.approx(once[1], rel=1e-4)
    assert steep[2] / steep[1] > plain[2] / plain[1] > 1


def test_a_repeated_token_of_a_query_saturates(store: Store) -> None:
    one, two, many = (
        tuned(store, ["t", "BM25", " ".join(["fox"] * times)], k3=1)[1] for times in (1, 2, 1000)
    )

    assert two / one == pytest.approx(4 / 3)
    assert many / one == pytest.approx(2, rel=0.01)


def test_a_prefix_counts_one_with_own_parameters(store: Store) -> None:
    rank_by = ["t", "BM25", "hen fo", {"last_as_prefix": True}]

    found = tuned(store, rank_by, b=0.5)

    assert set(found) == {1, 2, 3, 4, 5}
    assert [found[i] for i in (1, 2, 3, 5)] == [1.0] * 4
    assert tuned(store, ["t", "BM25", "zz", {"last_as_prefix": True}], b=0.5) == {}


def test_string_ids_are_ranked_too(store: Store) -> None:
    store.upsert({"id": "b'", "t": "x"}, {"id": "a", "t": "x y"}, schema={"t": TEXT})

    assert [row["id"] for row in store.rows(rank_by=["t", "BM25", "x"])] == ["b'", "a"]
