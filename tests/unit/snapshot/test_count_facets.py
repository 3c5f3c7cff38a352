"""The counting core against a naive count, over random rows."""

import json
from collections import defaultdict
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.formats.snapshot_body import FIELD_CAP
from services.snapshot.count_facets import FacetCounter

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
        for text in {e if isinstance(e, str) else json.dumps(e) for e in elements if e is not None}:
            counts[text] += 1
    return dict(counts)


@given(rows, st.integers(1, 7))
def test_pages_count_as_documents_do(documents: list[dict[str, Any]], page_size: int) -> None:
    counter = FacetCounter(list(columns))
    for start in range(0, len(documents), page_size):
        page = [
            {"id": start + at, "$dist": 0.5} | {k: v for k, v in row.items() if v is not None}
            for at, row in enumerate(documents[start : start + page_size])
        ]
        count, last = counter.add_page(json.dumps({"rows": page, "billing": {}}).encode())
        assert (count, last) == (len(page), page[-1]["id"])
    result = counter.result()
    assert result.row_count == len(documents)
    for field in columns:
        expected = naive(documents, field)
        if field == "share":
            # -0.0 and 0.0 are one number with two texts.
            expected.pop("-0.0", None), expected.pop("0.0", None)
            actual = {v: n for v, n in result.counts[field].items() if v not in ("-0.0", "0.0")}
            assert {float(v): n for v, n in actual.items()} == {
                float(v): n for v, n in expected.items()
            }
        else:
            assert dict(result.counts[field]) == expected


def test_a_field_over_the_cap_is_skipped_with_its_exact_number() -> None:
    counter = FacetCounter(["id", "few"])
    page = {"rows": [{"id": f"d{n}", "few": n % 3} for n in range(FIELD_CAP + 1)]}
    counter.add_page(json.dumps(page).encode())
    result = counter.result()
    assert result.distinct_over_cap == {"id": FIELD_CAP + 1}
    assert set(result.counts) == {"few"}


def test_a_field_at_the_cap_is_complete() -> None:
    counter = FacetCounter(["id"])
    counter.add_page(json.dumps({"rows": [{"id": n} for n in range(FIELD_CAP)]}).encode())
    assert len(counter.result().counts["id"]) == FIELD_CAP
