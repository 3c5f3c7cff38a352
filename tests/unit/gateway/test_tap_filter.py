"""What the tap's filter keeps of requests and answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.doubles.tap_filter import Kept, TapFilter

VECTOR = [n / 7 for n in range(1536)]
KIB = 1024


def whole(value: Any) -> Kept:
    return Kept(value if isinstance(value, bytes) else json.dumps(value).encode(), truncated=False)


@pytest.mark.parametrize(
    ("query", "kept"),
    [
        ({"rank_by": ["v", "ANN", VECTOR]}, {"rank_by": ["v", "ANN", "f32[1536]"]}),
        ({"rank_by": ["v", "kNN", VECTOR]}, {"rank_by": ["v", "kNN", "f32[1536]"]}),
        ({"vector": VECTOR, "top_k": 3}, {"vector": "f32[1536]", "top_k": 3}),
        (
            {"rank_by": ["Sum", [["a", "ANN", VECTOR], ["b", "ANN", VECTOR[:99]]]]},
            {"rank_by": ["Sum", [["a", "ANN", "f32[1536]"], ["b", "ANN", "f32[99]"]]]},
        ),
        (
            {"queries": [{"vector": VECTOR}, {"rank_by": ["v", "ANN", VECTOR]}]},
            {"queries": [{"vector": "f32[1536]"}, {"rank_by": ["v", "ANN", "f32[1536]"]}]},
        ),
    ],
)
@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": "), (" ,\n", " : ")])
def test_a_vector_is_replaced_by_its_shape(
    query: object, kept: object, separators: tuple[str, str]
) -> None:
    text = json.dumps(query, separators=separators).encode()
    (request,) = TapFilter().request(text)
    assert json.loads(request.body) == kept
    assert not request.truncated


@pytest.mark.parametrize(
    "query",
    [
        {"rank_by": ["v", "ANN", [1.5, 2]]},
        {"filters": ["id", "In", list(range(1000))]},
        {"filters": ["brand", "In", ["ANN", *("x" * 9 for _ in range(99))]]},
        {"rank_by": ["v", "ANN", [VECTOR, VECTOR]]},
        {"rank_by": ["v", "ANN", ["Embed", "x" * 300]]},
        {"rank_by": ["t", "BM25", f'"ANN", {VECTOR[:50]}']},
        {"vector": "x" * 999},
        {"vector": {"rank_by": VECTOR}},
        b'{"rank_by":["v","ANN",[' + b"1," * 500,
        b"\x1f\x8b" + bytes(range(256)) * 3,
        b"",
    ],
)
def test_all_else_is_kept_as_it_is(query: Any) -> None:
    expected = whole(query)
    assert TapFilter().request(expected.body)[-1] == expected


def test_only_the_ids_of_an_answers_rows_are_kept() -> None:
    rows = [{"id": n, "$dist": n / 3, "title": '"},{"id":7} "'} for n in range(5)]
    text = json.dumps({"rows": rows, "billing": {}}, separators=(",", ":")).encode()
    assert TapFilter().response(text) == [
        whole(b'{"rows":[{"id":0},{"id":1},{"id":2},{"id":3},{"id":4}]}')
    ]


@pytest.mark.parametrize(
    "answer",
    [
        b'{"rows":[]}',
        b'{"rows":[{"title":"a","id":7}]}',
        b'{"rows":[{"id":"a\\"b","title":"c"}]}',
        b'{"rows": [{"id": 7, "title": "a"}]}',
        b'{"rows":[{"id":-1.5,"title":"a"}]}',
        b'{"results":[{"rows":[{"id":7,"title":"a"}]}]}',
        b'{"aggregation_groups":[{"id":"a","n":1}]}',
        b"\x1f\x8b\x00",
    ],
)
def test_other_answers_are_kept_as_they_are(answer: bytes) -> None:
    assert TapFilter().response(answer)[-1] == whole(answer)


def test_ids_with_commas_braces_and_other_alphabets() -> None:
    ids = ["a,b", "}", '{"id":1}', "héé", "日本", ""]
    rows = [{"id": text, "n": 1} for text in ids]
    text = json.dumps({"rows": rows}, separators=(",", ":"), ensure_ascii=False)
    (answer,) = TapFilter().response(text.encode())
    # The third one has escaped quotes: all is left to who can read them.
    assert [row["id"] for row in json.loads(answer.body)["rows"]] == ids


def test_a_request_of_many_dimensions_is_kept_whole() -> None:
    query = {"rank_by": ["v", "ANN", [n / 10_752 for n in range(10_752)]], "top_k": 7}
    text = json.dumps(query).encode()
    assert len(text) > 200 * KIB
    chunks = [text[start : start + 16 * KIB] for start in range(0, len(text), 16 * KIB)]
    assert TapFilter().request(*chunks)[-1] == whole(
        {"rank_by": ["v", "ANN", "f32[10752]"], "top_k": 7}
    )


def test_a_long_body_is_cut() -> None:
    tap, long = TapFilter(), b"x" * 300 * KIB
    cut = Kept(b"x" * 64 * KIB, truncated=True)
    assert tap.request(long[: 60 * KIB], long[60 * KIB :])[-1] == cut
    assert tap.request(long[: 128 * KIB])[-1] == cut
    assert tap.response(long)[-1] == cut


def test_rows_of_a_cut_answer_are_kept_up_to_the_cut() -> None:
    rows = [{"id": n, "title": "x" * 900} for n in range(200)]
    text = json.dumps({"rows": rows}, separators=(",", ":")).encode()
    (answer,) = TapFilter().response(text)
    ids = [row["id"] for row in json.loads(answer.body)["rows"]]
    assert (ids, answer.truncated) == (list(range(72)), True)


def test_a_body_is_kept_before_its_stream_ends() -> None:
    tap, text = TapFilter(), b'{"top_k": 1}'
    assert tap.request(text, b"") == [whole(text)]
    packed = b"\x1f\x8b\x01"
    assert tap.request(packed, b"", headers={"content-length": "3"}) == [whole(packed)]
    # A brace may also be a part of a body: the last word counts.
    assert tap.request(text, b" ", text) == [whole(text), whole(text + b" " + text)]


def test_without_a_body_nothing_is_kept_but_that() -> None:
    assert TapFilter().request() == [whole(b"")]
