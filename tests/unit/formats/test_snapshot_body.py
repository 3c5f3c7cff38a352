"""The body's canonical form and its address."""

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.formats.snapshot_body import FIELD_CAP, build_body, decode_body, encode_body

names = st.text(min_size=1, max_size=8)
counts = st.dictionaries(
    names, st.dictionaries(st.text(max_size=6), st.integers(1, 2**40)), max_size=4
)


def canonical_sha(body: dict[str, object]) -> str:
    """By the definition in words, with the standard library: keys sorted, no white space, UTF-8
    unescaped."""
    content = {key: body[key] for key in ("row_count", "fields", "fields_skipped")}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


@given(
    counts, st.integers(0, 2**50), st.dictionaries(names, st.integers(10_001, 2**40), max_size=3)
)
def test_sha_is_that_of_the_canonical_json(
    fields: dict[str, dict[str, int]], row_count: int, skipped: dict[str, int]
) -> None:
    body = build_body("ns", 5, row_count, fields, skipped)
    assert body.sha == canonical_sha(json.loads(encode_body(body)))


@given(counts, st.integers(0, 10))
def test_a_body_survives_storage(fields: dict[str, dict[str, int]], row_count: int) -> None:
    body = build_body("ns", 5, row_count, fields, {})
    assert decode_body(encode_body(body)) == body


def test_fields_and_values_are_in_order() -> None:
    body = build_body("ns", 5, 1, {"b": {"z": 1, "Z": 2, "é": 3, "a": 4}, "a": {}}, {})
    assert [field.name for field in body.fields] == ["a", "b"]
    assert [value.v for value in body.fields[1].values] == ["Z", "a", "z", "é"]


def test_equal_content_has_an_equal_sha_in_every_namespace_at_every_time() -> None:
    first = build_body("one", 1, 3, {"f": {"x": 3}}, {})
    second = build_body("two", 2, 3, {"f": {"x": 3}}, {})
    assert first.sha == second.sha
    assert first.sha != build_body("one", 1, 4, {"f": {"x": 3}}, {}).sha


def test_a_skipped_field_says_why() -> None:
    body = json.loads(encode_body(build_body("ns", 5, 1, {}, {"tags": 247_000})))
    assert body["fields_skipped"] == [
        {"name": "tags", "distinct_observed": 247_000, "reason": "exceeded_cap", "cap": FIELD_CAP}
    ]


def test_changed_content_is_refused() -> None:
    stored = encode_body(build_body("ns", 5, 3, {"f": {"x": 3}}, {}))
    with pytest.raises(ValueError, match="sha"):
        decode_body(stored.replace(b'"n":3', b'"n":4'))
    with pytest.raises(ValueError, match="not a snapshot body"):
        decode_body(b"{}")
