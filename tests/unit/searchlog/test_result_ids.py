"""Ids of results."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.searchlog.result_ids import read_results


def ids(answer: Any, *, cut: int | None = None) -> tuple[list[str], int | None]:
    text = json.dumps(answer).encode()
    results = read_results(text[:cut], complete=cut is None)
    assert results is not None
    return list(results.ids), results.count


ROWS = [
    {"id": 7, "$dist": 0.1, "id2": 1, "a": {"id": 9}},
    {"$dist": 0.2, "id": "b", "v": [1.5] * 400},
]


def test_ids_are_strings_in_rank_order() -> None:
    assert ids({"rows": ROWS, "billing": {}, "performance": {}}) == (["7", "b"], 2)


def test_large_integers_are_exact() -> None:
    assert ids({"rows": [{"id": 2**64 - 1}]}) == ([str(2**64 - 1)], 1)
    assert ids({"rows": [{"id": 2**64 - 1}], "x": 1}, cut=-3) == ([str(2**64 - 1)], None)


def test_sub_queries_stand_one_after_the_other() -> None:
    answer = {"results": [{"rows": ROWS}, {"aggregations": {"n": 4}}, {"rows": [{"id": "c"}]}]}
    assert ids(answer) == (["7", "b", "c"], 3)
    assert ids(answer, cut=-2) == (["7", "b", "c"], None)


def test_an_aggregation_has_no_ids_and_no_count() -> None:
    assert ids({"aggregation_groups": [{"c": "red", "n": 4}]}) == ([], None)


def test_no_rows_count_as_none_found() -> None:
    assert ids({"rows": []}) == ([], 0)


def test_at_most_a_hundred_are_kept_and_all_are_counted() -> None:
    found, count = ids({"rows": [{"id": n} for n in range(250)]})
    assert found == [str(n) for n in range(100)]
    assert count == 250


def test_every_cut_gives_the_ids_before_it() -> None:
    answer = {"rows": [{"id": f"r{n}", "v": [0.5] * 90, "t": "x" * 30} for n in range(20)]}
    text = json.dumps(answer)
    for cut in range(1, len(text), 37):
        found, count = ids(answer, cut=cut)
        expected = [f"r{n}" for n in range(20) if text.index(f'"r{n}"') + len(f'"r{n}"') <= cut]
        assert found == expected
        assert count is None


@pytest.mark.parametrize("body", [b"", b"oops", b"[1]", b'{"rows": [{"x": 1}]}', b"\xff\xfe"])
def test_what_is_no_answer_is_none(body: bytes) -> None:
    assert read_results(body, complete=True) is None
    cut = read_results(body, complete=False)
    assert cut is not None
    assert list(cut.ids) == []
