"""Counting by aggregation and by scan: the same bytes, whichever way."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.errors import ErrorKind, LayerError
from services.formats.snapshot_body import encode_body
from services.snapshot.aggregate_origin import OriginAggregation
from services.snapshot.count_facets import FacetCounts
from services.snapshot.count_origin import OriginCount, OriginStrategy
from services.snapshot.count_request import CountRequest
from services.snapshot.scan_origin import OriginScan
from services.upstream.vector_store import (
    NamespaceNotFoundError,
    UpstreamRejectedError,
    UpstreamUnavailableError,
)
from tests.doubles.table_store import TableVectorStore
from tests.unit.snapshot.origin_rows import FIELDS, NS, filters, request_of, rows, table

Counted = tuple[FacetCounts, list[tuple[int, int | None]]]


def count(
    upstream: TableVectorStore,
    request: CountRequest,
    strategy: OriginStrategy = OriginStrategy.AUTO,
    *,
    group_cap: int = 10_000,
    field_cap: int = 10_000,
) -> Counted:
    upstream.group_cap = group_cap
    progress: list[tuple[int, int | None]] = []
    origin = OriginCount(
        OriginAggregation(upstream, group_cap=group_cap, field_cap=field_cap),
        OriginScan(upstream, field_cap=field_cap),
        strategy,
    )
    counts = asyncio.run(origin.count(request, on_progress=lambda *step: progress.append(step)))
    return counts, progress


def is_monotonic(progress: list[tuple[int, int | None]]) -> bool:
    documents = [step[0] for step in progress]
    return documents == sorted(documents)


@settings(max_examples=150)
@given(
    rows(),
    filters,
    st.lists(st.sampled_from(["id", *FIELDS]), unique=True).map(tuple),
    st.integers(1, 12),
    st.integers(1, 12),
    st.integers(1, 7),
    st.integers(1, 9),
)
def test_both_ways_give_the_same_bytes(
    documents: list[dict[str, Any]],
    expression: Any,
    fields: tuple[str, ...],
    group_cap: int,
    field_cap: int,
    page_size: int,
    threads: int,
) -> None:
    bodies = []
    for strategy in (OriginStrategy.AUTO, OriginStrategy.SCAN):
        upstream = table(documents)
        request = request_of(
            upstream, *fields, filters=expression, page_size=page_size, scan_threads=threads
        )
        counts, progress = count(
            upstream, request, strategy, group_cap=group_cap, field_cap=field_cap
        )
        bodies.append(encode_body(counts.body(NS, 1)))
        assert is_monotonic(progress)
        assert all(done <= counts.row_count for done, _ in progress)
    assert bodies[0] == bodies[1]


ROWS: list[dict[str, Any]] = [
    {"id": at, "text": f"t{at:03}", "n": at % 7, "texts": ["a", f"b{at % 30}"], "flag": at % 2 == 0}
    for at in range(100)
]


def test_one_request_answers_three_fields_and_the_row_count() -> None:
    upstream = table(ROWS)
    counts, progress = count(upstream, request_of(upstream, "n", "flag", "texts"))
    assert counts.row_count == 100
    assert len(upstream.requests) == 1
    assert progress == [(100, 100)]


def test_requests_stay_within_the_slots_even_when_jobs_compete() -> None:
    upstream = table(ROWS)
    request = request_of(upstream, "n", "flag", "texts", "real", "wholes", "reals")
    aggregation = OriginAggregation(upstream)

    async def together() -> None:
        await asyncio.gather(*(aggregation.count(request) for _ in range(5)))

    asyncio.run(together())
    assert upstream.most_slots == 16
    assert len(upstream.requests) == 10


def test_cut_groups_are_continued_to_the_end() -> None:
    upstream = table(ROWS)
    counts, progress = count(upstream, request_of(upstream, "text"), group_cap=25, field_cap=60)
    assert counts.distinct_over_cap == {"text": 100}
    # 100 values are four full pages; only the fifth, which is empty, is known to be the last.
    assert len(upstream.requests) == 5
    assert progress == [(25, 100), (50, 100), (75, 100), (100, 100), (100, 100)]
    assert all("rank_by" not in query for query in upstream.requests)


def test_the_row_count_alone() -> None:
    upstream = table(ROWS)
    counts, _ = count(upstream, request_of(upstream, filters=["n", "Eq", 1]))
    assert counts == FacetCounts(15, {}, {})
    assert len(upstream.requests) == 1


def test_many_ids_need_no_scan() -> None:
    upstream = table(ROWS)
    counts, _ = count(upstream, request_of(upstream, "id", "n"), field_cap=99)
    assert counts.distinct_over_cap == {"id": 100}
    assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("field", "group_cap", "reason"),
    [
        ("texts", 31, "an array has more values"),
        ("flag", 2, "type bool cannot be continued"),
        ("when", 100, "type datetime are not documented"),
        ("id", 100, "does not group by id"),
    ],
)
def test_what_is_not_certain_is_scanned(field: str, group_cap: int, reason: str) -> None:
    upstream = table(ROWS)
    request = request_of(upstream, field, "n")
    counts, progress = count(upstream, request, group_cap=group_cap)
    scans = [query for query in upstream.requests if "rank_by" in query]
    assert len(scans) == 1
    # Only what is uncertain is read row by row.
    assert scans[0]["include_attributes"] == ([field] if field != "id" else [])
    assert is_monotonic(progress)
    assert counts == count(upstream, request, OriginStrategy.SCAN)[0]
    with pytest.raises(LayerError, match=reason) as refused:
        count(upstream, request, OriginStrategy.AGGREGATE, group_cap=group_cap)
    assert refused.value.kind is ErrorKind.NOT_IMPLEMENTED
    assert "LAYER_ORIGIN_STRATEGY" in refused.value.message


def refuse_grouping_by(name: str) -> Any:
    def refuse(query: Any) -> None:
        if query.get("group_by") == [name]:
            raise UpstreamRejectedError(400, f"{name} is not filterable")

    return refuse


def test_one_refused_field_does_not_spoil_the_others() -> None:
    upstream = table(ROWS)
    upstream.refuse = refuse_grouping_by("n")
    request = request_of(upstream, "n", "flag", "text")
    counts, _ = count(upstream, request)
    assert counts.row_count == 100
    assert counts.counts["n"]["0"] == 15
    assert [query["include_attributes"] for query in upstream.requests if "rank_by" in query] == [
        ["n"]
    ]
    with pytest.raises(LayerError, match="n is not filterable"):
        count(upstream, request, OriginStrategy.AGGREGATE)


def test_an_upstream_without_aggregations_is_scanned() -> None:
    upstream = table(ROWS)

    def refuse(query: Any) -> None:
        if "aggregate_by" in query:
            raise UpstreamRejectedError(422, "unknown field `aggregate_by`")

    upstream.refuse = refuse
    counts, _ = count(upstream, request_of(upstream, "n", "flag"))
    assert counts.row_count == 100
    with pytest.raises(LayerError, match="does not count rows"):
        count(upstream, request_of(upstream, "n"), OriginStrategy.AGGREGATE)


def shorter(_query: Any, answer: dict[str, Any]) -> dict[str, Any]:
    groups = answer.get("aggregation_groups")
    return answer if groups is None else {"aggregation_groups": groups[1:]}


def turned(_query: Any, answer: dict[str, Any]) -> dict[str, Any]:
    groups = answer.get("aggregation_groups")
    return answer if groups is None else {"aggregation_groups": groups[::-1]}


def as_text(query: Any, answer: dict[str, Any]) -> dict[str, Any]:
    groups = answer.get("aggregation_groups")
    if groups is None or query["group_by"] != ["n"]:
        return answer
    return {"aggregation_groups": [{**group, "n": str(group["n"])} for group in groups]}


def without_groups(_query: Any, answer: dict[str, Any]) -> dict[str, Any]:
    return answer if "rows" in answer or "aggregations" in answer else {}


@pytest.mark.parametrize("answer", [shorter, turned, as_text, without_groups])
def test_answers_that_cannot_be_all_are_not_believed(answer: Any) -> None:
    upstream = table(ROWS)
    request = request_of(upstream, "n")
    expected = count(upstream, request, OriginStrategy.SCAN)[0]
    upstream.requests.clear()
    upstream.answer = answer
    assert count(upstream, request, group_cap=5)[0] == expected
    assert any("rank_by" in query for query in upstream.requests)


def test_numbers_may_be_spelled_otherwise_in_groups() -> None:
    upstream = table([{"id": at, "real": [7.0, -0.0, 1e16, 2.5][at % 4]} for at in range(8)])

    def integers(_query: Any, answer: dict[str, Any]) -> dict[str, Any]:
        for group in answer.get("aggregation_groups", []):
            if float(group["real"]).is_integer():
                group["real"] = int(group["real"])
        return answer

    upstream.answer = integers
    counts, _ = count(upstream, request_of(upstream, "real"), OriginStrategy.AGGREGATE)
    assert counts.counts["real"] == {"7": 2, "0": 2, "10000000000000000": 2, "2.5": 2}
    assert counts == count(upstream, request_of(upstream, "real"), OriginStrategy.SCAN)[0]


def test_other_failures_are_no_reason_to_scan() -> None:
    upstream = table(ROWS)
    request = request_of(upstream, "n")
    upstream.down = True
    with pytest.raises(UpstreamUnavailableError):
        count(upstream, request)
    upstream.down = False
    upstream.namespace = "other"
    with pytest.raises(NamespaceNotFoundError):
        count(upstream, request)
    assert upstream.requests == []


def test_filters_that_the_upstream_refuses_fail_with_its_words() -> None:
    upstream = table(ROWS)

    def refuse(query: Any) -> None:
        if "filters" in query:
            raise UpstreamRejectedError(400, "type mismatch")

    upstream.refuse = refuse
    request = request_of(upstream, "n", filters=["n", "Contains", 1])
    with pytest.raises(UpstreamRejectedError, match="type mismatch"):
        count(upstream, request)
