"""How answers of our JSON routes leave."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.doubles.api_filter import ApiFilter

FILTER = ApiFilter()
INT64 = ("watermark_ms", "row_count", "n", "distinct_observed", "cap", "ts_ms", "total", "count")


@pytest.mark.parametrize(
    ("transcoded", "leaves"),
    [
        ({"n": "7"}, {"n": 7}),
        ({"n": "-7", "v": "7"}, {"n": -7, "v": "7"}),
        ({"watermark_ms": "1790000000000", "sha": "12"}, None),
        ([{"v": "1", "n": "2"}, {"v": "3", "n": "4"}], [{"v": "1", "n": 2}, {"v": "3", "n": 4}]),
        ({"n": "7a"}, {"n": "7a"}),
        ({"n": ""}, {"n": ""}),
        ({"v": '"n":"7"'}, {"v": '"n":"7"'}),
        ({"v": "n", "n": "9007199254740993"}, {"v": "n", "n": 9007199254740993}),
        ({}, {}),
        ([], []),
    ],
)
def test_declared_integers_are_numbers(transcoded: Any, leaves: Any) -> None:
    if leaves is None:
        leaves = {**transcoded, "watermark_ms": 1790000000000}
    body = json.dumps(transcoded, separators=(",", ":")).encode()
    assert json.loads(FILTER.answer(body)) == leaves


def test_a_verbatim_answer_is_left_alone() -> None:
    body = b'{"attributes":{"n":"7"}}'
    assert FILTER.answer(body, {"verbatim": True}) == body


def test_of_an_entry_only_its_own_time_is_a_number() -> None:
    entry = {"timestamp": "2026-05-22T08:00:00.000Z", "timestamp_nanos": "12", "query": {"n": "7"}}
    body = json.dumps({"entries": [entry]}, separators=(",", ":")).encode()
    left = json.loads(FILTER.answer(body, {"entries": True}))
    assert left == {"entries": [{**entry, "timestamp_nanos": 12}]}


TEXTS = st.one_of(
    st.text(max_size=8),
    st.integers(-(2**63), 2**63 - 1).map(str),
    st.sampled_from(['":"', '"n":"7"', "-", "7-", "--7", "\\", '\\"', "0x1"]),
)
NAMES = st.sampled_from([*INT64, "v", "sha", "name", "field_n", "nn"])
MESSAGES = st.recursive(
    TEXTS, lambda inner: st.one_of(st.lists(inner), st.dictionaries(NAMES, inner)), max_leaves=20
).filter(lambda value: isinstance(value, dict | list))


@given(MESSAGES, st.booleans())
def test_it_does_what_one_pattern_says(message: Any, ascii_only: bool) -> None:
    text = json.dumps(message, separators=(",", ":"), ensure_ascii=ascii_only)
    expected = re.sub(rf'"({"|".join(INT64)})":"(-?[0-9]+)"', lambda m: f'"{m[1]}":{m[2]}', text)
    assert (
        FILTER.answer(text.encode(errors="surrogatepass")).decode(errors="surrogatepass")
        == expected
    )
