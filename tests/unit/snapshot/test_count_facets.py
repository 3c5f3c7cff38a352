"""The counting core against a naive count, over random rows."""

import json
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.formats.snapshot_body import FIELD_CAP
from services.snapshot.count_facets import FacetCounter, Page, value_text

scalars = st.one_of(st.none(), st.text(max_size=3))
columns: dict[str, st.SearchStrategy[Any]] = {
    "name": scalars,
    "count": st.one_of(st.none(), st.integers(-5, 5)),
    "share": st.one_of(st.none(), st.floats(-2, 2, allow_nan=False)),
    "flag": st.one_of(st.none(), st.booleans()),
    "tags": st.one_of(st.none(), st.lists(st.text(max_size=2), max_size=4)),
    'odd "name"\n': scalars,
}
rows = st.lists(st.fixed_dictionaries(columns), max_size=30)


def naive(documents: list[dict[str, Any]], field: str) -> dict[str, int]:
    """By the words of the contract, one document and one value at a time."""
    counts: dict[str, int] = defaultdict(int)
    for document in documents:
        value = document[field]
        elements = value if isinstance(value, list) else [value]
        for text in {spelled(element) for element in elements if element is not None}:
            counts[text] += 1
    return dict(counts)


def spelled(value: Any) -> str:
    # Adding 0.0 makes one number of the two zeros.
    return (
        value
        if isinstance(value, str)
        else json.dumps(value + 0.0 if isinstance(value, float) else value)
    )


@given(rows, st.integers(1, 7))
def test_pages_count_as_documents_do(documents: list[dict[str, Any]], page_size: int) -> None:
    counter = FacetCounter(list(columns))
    for start in range(0, len(documents), page_size):
        page = [
            {"id": start + at, "$dist": 0.5} | {k: v for k, v in row.items() if v is not None}
            for at, row in enumerate(documents[start : start + page_size])
        ]
        added = counter.add_page(json.dumps({"rows": page, "billing": {}}).encode())
        assert added == Page(len(page), page[0]["id"], page[-1]["id"], is_ascending=True)
    result = counter.result()
    assert result.row_count == len(documents)
    for field in columns:
        expected = naive(documents, field)
        actual = dict(result.counts[field])
        if field == "share":
            # Exponents are written in several ways.
            assert by_number(actual) == by_number(expected)
        else:
            assert actual == expected


def by_number(counts: dict[str, int]) -> dict[float, int]:
    numbers = {float(text): n for text, n in counts.items()}
    assert len(numbers) == len(counts)
    return numbers


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("7.0", "7.0"),
        (7, "7"),
        (7.0, "7"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (-1.5e-7, "-1.5e-7"),
        (1e16, "10000000000000000"),
        (2.0**63, "9223372036854775808"),
        (2**64 - 1, "18446744073709551615"),
        (1e300, "1e300"),
        (True, "true"),
    ],
)
def test_a_value_has_one_text_however_it_was_spelled(value: str | float, text: str) -> None:
    assert value_text(value) == text


def test_a_field_over_the_cap_is_skipped_with_its_exact_number() -> None:
    counter = FacetCounter(["id", "few"])
    page = {"rows": [{"id": f"d{n}", "few": n % 3} for n in range(FIELD_CAP + 1)]}
    counter.add_page(json.dumps(page).encode())
    result = counter.result()
    assert result.distinct_over_cap == {"id": FIELD_CAP + 1}
    assert set(result.counts) == {"few"}


@given(st.lists(st.lists(st.lists(st.integers(0, 9), max_size=3), max_size=4), max_size=5))
def test_over_the_cap_the_number_of_values_stays_exact(pages: list[list[list[int]]]) -> None:
    counter = FacetCounter(["id", "scalar", "array"], cap=2)
    documents: list[dict[str, Any]] = []
    for page in pages:
        rows = [
            {"id": len(documents) + at, "scalar": (*array, None)[0], "array": array}
            for at, array in enumerate(page)
        ]
        documents += rows
        counter.add_page(json.dumps({"rows": rows}).encode())
    result = counter.result()
    for field in ("id", "scalar", "array"):
        expected = naive(documents, field)
        if len(expected) > 2:
            assert result.distinct_over_cap[field] == len(expected)
            assert field not in result.counts
        else:
            assert dict(result.counts[field]) == expected


@pytest.mark.parametrize(
    ("ids", "is_ascending"),
    [
        ([1, 2, 3], True),
        (["A", "a"], True),
        ([1, 1], False),
        (["b", "a"], False),
        ([1, "a"], False),
    ],
)
def test_a_page_says_whether_its_ids_ascend(ids: list[Any], is_ascending: bool) -> None:
    page = FacetCounter([]).add_page(json.dumps({"rows": [{"id": each} for each in ids]}).encode())
    assert page == Page(len(ids), ids[0], ids[-1], is_ascending)


def test_a_field_at_the_cap_is_complete() -> None:
    counter = FacetCounter(["id"])
    counter.add_page(json.dumps({"rows": [{"id": n} for n in range(FIELD_CAP)]}).encode())
    assert len(counter.result().counts["id"]) == FIELD_CAP
