"""What is kept of a query."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest

from services.searchlog.captured_body import CapturedBody
from services.searchlog.query_summary import find_query_text, summarise_query
from services.searchlog.request_body import RequestSummary, read_request

V3 = [0.1, -2e-7, 3]
LONG = [i / 7 for i in range(1536)]
B64 = base64.b64encode(struct.pack("<4f", 1, 2, 3, 4)).decode()

RANKINGS: list[tuple[Any, Any]] = [
    (["vector", "ANN", V3], ["vector", "ANN", "f32[3]"]),
    (["vector", "kNN", [1, 2]], ["vector", "kNN", "f32[2]"]),
    (["vector", "ANN", B64], ["vector", "ANN", "f32[4]"]),
    (["vector", "ANN", "not floats"], ["vector", "ANN", "f32[?]"]),
    (["vector", "ANN", [V3, V3]], ["vector", "ANN", "f32[2][3]"]),
    (["vector", "ANN", [V3, [1]]], ["vector", "ANN", "f32[2][?]"]),
    (["vector", "ANN", [B64, B64, B64]], ["vector", "ANN", "f32[3][4]"]),
    (["vector", "ANN", V3, {"ef": 10}], ["vector", "ANN", "f32[3]", {"ef": 10}]),
    (["text", "BM25", "red shoes"], ["text", "BM25", "red shoes"]),
    (["sv", "SparseKNN", {"a": 0.4}], ["sv", "SparseKNN", {"a": 0.4}]),
    (
        ["sv", "SparseKNN", {"indices": [1, 2], "values": [0.5, 0.25]}],
        ["sv", "SparseKNN", {"indices": "f32[2]", "values": "f32[2]"}],
    ),
    (
        ["Sum", [["v", "ANN", V3], ["t", "BM25", "q"]]],
        ["Sum", [["v", "ANN", "f32[3]"], ["t", "BM25", "q"]]],
    ),
    (
        ["Product", 2.5, ["Max", [["v", "kNN", V3]]]],
        ["Product", 2.5, ["Max", [["v", "kNN", "f32[3]"]]]],
    ),
    (["Product", ["v", "ANN", V3], 2], ["Product", ["v", "ANN", "f32[3]"], 2]),
    (["Dist", "v", V3], ["Dist", "v", "f32[3]"]),
    (["id", "In", [1, 2, 3]], ["id", "In", [1, 2, 3]]),
    (
        ["v", "ANN", ["Embed", "warm socks", {"model": "m"}]],
        ["v", "ANN", ["Embed", "warm socks", {"model": "m"}]],
    ),
    (["price", "asc"], ["price", "asc"]),
    ([["a", "asc"], ["b", "desc"]], [["a", "asc"], ["b", "desc"]]),
]


@pytest.mark.parametrize(("rank_by", "kept"), RANKINGS)
def test_every_vector_in_rank_by_becomes_its_shape(rank_by: Any, kept: Any) -> None:
    assert summarise_query({"rank_by": rank_by})["rank_by"] == kept


def test_the_documented_example() -> None:
    request = {
        "rank_by": ["vector", "ANN", LONG],
        "top_k": 10,
        "filters": ["brand", "Eq", "Acme"],
        "consistency": {"level": "strong"},
    }
    summary = {
        "vector": "f32[1536]",
        "rank_by": ["vector", "ANN", "f32[1536]"],
        "top_k": 10,
        "filters": ["brand", "Eq", "Acme"],
    }
    assert summarise_query(request) == summary
    assert read(json.dumps(request)) == RequestSummary(summary, None)
    assert list(summarise_query(request)) == list(summary)


def test_a_legacy_vector_and_all_that_is_kept() -> None:
    request = {
        "group_by": ["c"],
        "aggregate_by": {"n": ["Count"]},
        "include_attributes": True,
        "limit": {"total": 50, "per": {"attributes": ["c"], "limit": 3}},
        "vector": [1.0, 2.0],
        "vector_encoding": "float",
        "offset": 3,
    }
    assert summarise_query(request) == {
        "vector": "f32[2]",
        "limit": {"total": 50, "per": {"attributes": ["c"], "limit": 3}},
        "include_attributes": True,
        "aggregate_by": {"n": ["Count"]},
        "group_by": ["c"],
    }


def test_sub_queries() -> None:
    request = {
        "queries": [
            {"rank_by": ["v", "ANN", V3], "limit": 5},
            {"rank_by": ["t", "BM25", ["red", "shoes"]], "top_k": 2},
            {"aggregate_by": {"n": ["Count"]}},
            "nonsense",
        ],
        "rerank_by": ["RRF"],
    }
    assert summarise_query(request) == {
        "queries": [
            {"vector": "f32[3]", "rank_by": ["v", "ANN", "f32[3]"], "limit": 5},
            {"rank_by": ["t", "BM25", ["red", "shoes"]], "top_k": 2},
            {"aggregate_by": {"n": ["Count"]}},
        ]
    }
    assert find_query_text(request) == "red shoes"


@pytest.mark.parametrize(
    ("rank_by", "text"),
    [
        (["t", "BM25", "red shoes"], "red shoes"),
        (["t", "BM25", ["red", "shoes"], {"last_as_prefix": True}], "red shoes"),
        (["Sum", [["v", "ANN", V3], ["Product", 2, ["t", "BM25", "a"]], ["u", "BM25", "b"]]], "a"),
        (["v", "ANN", V3], None),
        (["t", "BM25", []], None),
        (["t", "BM25", 5], None),
        (None, None),
    ],
)
def test_the_text_is_that_of_the_first_bm25(rank_by: Any, text: str | None) -> None:
    assert find_query_text({"rank_by": rank_by}) == text


def read(text: str | bytes, *, complete: bool = True) -> RequestSummary | None:
    return read_request(CapturedBody(text.encode() if isinstance(text, str) else text, complete))


LONG_IDS = list(range(10**15, 10**15 + 200))
TRICKY: list[dict[str, Any]] = [
    {"rank_by": ["v", "ANN", LONG], "filters": ["id", "In", LONG_IDS]},
    {"rank_by": ["v", "ANN", [LONG, LONG]]},
    {"filters": ["And", [["id", "NotIn", LONG_IDS], ["t", "Eq", "[" + "1," * 300 + "1]"]]]},
    {"rank_by": ["t", "BM25", 'quote " and [' + "1," * 300 + "1] in a text"], "top_k": 3},
    {"rank_by": ["t", "BM25", 'back\\slash \\" [' + "1," * 300 + "1]"], "top_k": 3},
    {"rank_by": ["t", "BM25", "\0" + "0"], "filters": ["id", "In", LONG_IDS]},
    {"rank_by": ["t", "BM25", "snow \u2603 \\u0000"], "vector": LONG},
    {"rank_by": ["id", "In", LONG_IDS], "top_k": 1},
    {"filters": ["x", "In", [True] * 100 + [None]], "top_k": 1},
    {"filters": ["x", "In", [[1.5] * 100, ["a"] * 100]], "top_k": 1},
]


@pytest.mark.parametrize("request_", TRICKY)
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("ascii_", [True, False])
def test_cutting_arrays_out_first_changes_nothing(
    request_: dict[str, Any], indent: int | None, ascii_: bool
) -> None:
    text = json.dumps(request_, indent=indent, ensure_ascii=ascii_)
    assert read(text) == RequestSummary(summarise_query(request_), find_query_text(request_))


def test_a_cut_body_gives_what_stands_before_the_cut() -> None:
    text = json.dumps(
        {"top_k": 10, "filters": ["a", "Eq", "b"], "rank_by": ["v", "ANN", LONG], "limit": 5}
    )
    cut = text[: text.index("ANN") + 2000]
    assert read(cut, complete=False) == RequestSummary(
        {
            "vector": "f32[?]",
            "rank_by": ["v", "ANN", "f32[?]"],
            "top_k": 10,
            "filters": ["a", "Eq", "b"],
        },
        None,
    )


@pytest.mark.parametrize("request_", TRICKY)
def test_no_cut_is_an_error(request_: dict[str, Any]) -> None:
    text = json.dumps(request_)
    for end in range(0, len(text), 101):
        summary = read(text[:end], complete=False)
        assert summary is None or isinstance(summary.query, dict)


@pytest.mark.parametrize("text", ["", "[1]", "{", '"x"', "{'a': 1}", "[" * 100_000, "\ufeff{}"])
def test_what_is_no_object_is_none(text: str) -> None:
    assert read(text) is None


def test_deep_nesting_is_no_error() -> None:
    deep = '{"rank_by":' + "[" * 600 + "]" * 600 + "}"
    assert read(deep) is None or read(deep) is not None
