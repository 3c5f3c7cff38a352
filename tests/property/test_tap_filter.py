"""What the tap's filter leaves out changes nothing of what is logged."""

from __future__ import annotations

import json
import math
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.searchlog.captured_body import CapturedBody
from services.searchlog.request_body import read_request
from services.searchlog.result_ids import read_results
from tests.doubles.tap_filter import TapFilter

TAP = TapFilter()

SEPARATORS = st.sampled_from([(",", ":"), (", ", ": "), (" , ", " :  ")])
NUMBERS = st.one_of(st.integers(-(10**6), 10**6), st.floats(-10, 10))
VECTORS = st.integers(1, 120).flatmap(lambda n: st.lists(NUMBERS, min_size=n, max_size=n))
WORDS = st.one_of(
    st.sampled_from(["ANN", "kNN", "vector", '"ANN",[1', "\\", '"', "[", "]", "{", "}", ",", "id"]),
    st.text(max_size=6),
)
# The upstream serves no query in which a key stands before numbers that are no vector.
NAMES = WORDS.filter(lambda word: word not in ("ANN", "kNN", "vector"))
LEAVES = st.one_of(NAMES, VECTORS, NUMBERS, st.none(), st.booleans())
NODES = st.recursive(
    LEAVES, lambda inner: st.one_of(st.lists(inner), st.dictionaries(NAMES, inner)), max_leaves=8
)
RANKINGS = st.one_of(
    st.tuples(NAMES, st.sampled_from(["ANN", "kNN"]), st.one_of(VECTORS, NODES)),
    st.tuples(NAMES, st.just("BM25"), WORDS),
    NODES,
)
CONDITIONS = st.tuples(
    WORDS, st.sampled_from(["Eq", "In", "ContainsAny"]), st.one_of(WORDS, NUMBERS, VECTORS)
)
FILTERS = st.one_of(CONDITIONS, st.tuples(st.sampled_from(["And", "Or"]), st.lists(CONDITIONS)))
QUERIES = st.fixed_dictionaries(
    {},
    optional={
        "rank_by": st.one_of(RANKINGS, st.tuples(st.just("Sum"), st.lists(RANKINGS))),
        "vector": st.one_of(VECTORS, NODES),
        "filters": FILTERS,
        "top_k": st.integers(0, 10_000),
        "include_attributes": st.one_of(st.booleans(), st.lists(WORDS)),
    },
)
REQUESTS = st.one_of(QUERIES, st.fixed_dictionaries({"queries": st.lists(QUERIES, max_size=3)}))


@given(REQUESTS, SEPARATORS, st.booleans(), st.integers(1, 500))
def test_requests(request: Any, separators: tuple[str, str], ascii_only: bool, step: int) -> None:
    text = json.dumps(request, separators=separators, ensure_ascii=ascii_only)
    body = text.encode(errors="surrogatepass")
    kept = TAP.request(*(body[at : at + step] for at in range(0, len(body), step)))[-1]
    assert not kept.truncated
    assert read_request(CapturedBody(kept.body, complete=True)) == read_request(
        CapturedBody(body, complete=True)
    )


IDS = st.one_of(st.integers(0, 2**64 - 1), st.text(max_size=12))
ATTRIBUTES = st.dictionaries(
    st.one_of(WORDS, st.sampled_from(["$dist", "title"])).filter(lambda name: name != "id"),
    st.one_of(NUMBERS, WORDS, st.lists(WORDS), st.sampled_from(['{"id":7}', '"},{"id":8,'])),
    max_size=4,
)
ROWS = st.tuples(IDS, ATTRIBUTES).map(lambda row: {"id": row[0], **row[1]})
ANSWERS = st.one_of(
    st.fixed_dictionaries({"rows": st.lists(ROWS, max_size=20), "billing": st.just({"b": 1})}),
    st.fixed_dictionaries(
        {"results": st.lists(st.fixed_dictionaries({"rows": st.lists(ROWS, max_size=5)}))}
    ),
    st.fixed_dictionaries({"aggregation_groups": st.lists(st.dictionaries(WORDS, NUMBERS))}),
)


@given(ANSWERS, SEPARATORS, st.booleans())
def test_answers(answer: Any, separators: tuple[str, str], ascii_only: bool) -> None:
    text = json.dumps(answer, separators=separators, ensure_ascii=ascii_only)
    body = text.encode(errors="surrogatepass")
    kept = TAP.response(body)[-1]
    assert read_results(kept.body, complete=True) == read_results(body, complete=True)


@given(st.lists(ROWS, min_size=1, max_size=20), st.floats(0, 1))
def test_answers_that_are_cut(rows: Any, share: float) -> None:
    text = json.dumps({"rows": rows}, separators=(",", ":")).encode()
    body = text[: math.ceil(len(text) * share)]
    kept = TAP.response(body)[-1]
    found = read_results(kept.body, complete=False)
    expected = read_results(body, complete=False)
    assert found is not None
    assert expected is not None
    # An id at the very end of what was captured may be cut itself.
    assert list(found.ids)[: len(expected.ids)] in (
        list(expected.ids),
        list(expected.ids)[: len(found.ids)],
    )
    assert len(expected.ids) - len(found.ids) in (0, 1)
