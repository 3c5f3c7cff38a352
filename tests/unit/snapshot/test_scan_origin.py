"""The scan: each document once, whatever the ids, the ranges and the order."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.snapshot.count_facets import FacetCounts
from services.snapshot.count_request import CountRequest
from services.snapshot.scan_origin import SHARD_ATTRIBUTE, OriginScan
from services.upstream.vector_store import UpstreamRejectedError, UpstreamUnavailableError
from tests.doubles.table_store import TableVectorStore
from tests.unit.snapshot.origin_rows import MAX_ID, ids, request_of, table


def scan(upstream: TableVectorStore, request: CountRequest) -> tuple[FacetCounts, list[int]]:
    progress: list[int] = []
    counts = asyncio.run(
        OriginScan(upstream).count(
            request, on_progress=lambda documents, _expected: progress.append(documents)
        )
    )
    return counts, progress


def each_once(counts: FacetCounts, documents: list[dict[str, Any]]) -> None:
    assert counts.row_count == len(documents)
    assert dict(counts.counts["id"]) == {str(row["id"]): 1 for row in documents}


@settings(max_examples=150)
@given(ids, st.integers(1, 5), st.integers(1, 32))
def test_each_document_is_counted_once(all_ids: list[Any], page_size: int, threads: int) -> None:
    documents = [{"id": each} for each in all_ids]
    upstream = table(documents)
    request = request_of(upstream, "id", page_size=page_size, scan_threads=threads)
    counts, progress = scan(upstream, request)
    each_once(counts, documents)
    assert progress == sorted(progress)
    assert progress[-1] == len(documents)
    assert upstream.most_slots <= threads
    # No more than: each page, its empty continuation, a share for each thread, the highest id.
    pages = len(documents) // page_size + 1
    assert len(upstream.requests) <= pages * (threads + 1) + 1


shards = st.one_of(st.none(), st.integers(-3, 3), st.sampled_from([-(2**63), 2**63 - 1]))


@settings(max_examples=100)
@given(st.lists(shards, max_size=40), st.integers(1, 5), st.integers(1, 8), st.booleans())
def test_shards_divide_and_documents_without_one_count(
    values: list[int | None], page_size: int, threads: int, filtered: bool
) -> None:
    documents = [{"id": at, SHARD_ATTRIBUTE: shard} for at, shard in enumerate(values)]
    upstream = table(documents)
    upstream.types[SHARD_ATTRIBUTE] = "int"
    request = request_of(
        upstream,
        "id",
        page_size=page_size,
        scan_threads=threads,
        filters=["id", "Gte", 3] if filtered else None,
    )
    each_once(scan(upstream, request)[0], documents[3:] if filtered else documents)


def test_shards_are_read_at_the_same_time() -> None:
    upstream = table([{"id": at, SHARD_ATTRIBUTE: at % 64} for at in range(640)])
    each_once(
        scan(upstream, request_of(upstream, "id", page_size=10, scan_threads=8))[0], upstream.rows
    )
    assert upstream.most_slots == 8
    assert any(SHARD_ATTRIBUTE in str(query.get("filters")) for query in upstream.requests)


def test_shards_that_cannot_be_ordered_by_are_left_aside() -> None:
    upstream = table([{"id": at, SHARD_ATTRIBUTE: at % 4} for at in range(40)])

    def refuse(query: Any) -> None:
        if SHARD_ATTRIBUTE in str(query):
            raise UpstreamRejectedError(400, "not filterable")

    upstream.refuse = refuse
    each_once(scan(upstream, request_of(upstream, "id", page_size=5))[0], upstream.rows)
    assert upstream.most_slots > 1


@pytest.mark.parametrize(
    ("all_ids", "most_requests"),
    [
        pytest.param(list(range(1000)), 110, id="dense"),
        pytest.param([MAX_ID - at for at in range(1000)], 110, id="at the end"),
        pytest.param([f"user_{at:08}" for at in range(1000)], 130, id="numbered"),
        pytest.param([f"{at * 2654435761 % 2**32:08x}" for at in range(1000)], 130, id="hashed"),
        # Each page of the dense part makes the range that is left an eighth.
        pytest.param([*range(999), MAX_ID], 230, id="one far away"),
    ],
)
def test_ranges_are_shared_however_ids_are_spread(all_ids: list[Any], most_requests: int) -> None:
    upstream = table([{"id": each} for each in all_ids])
    request = request_of(upstream, "id", page_size=20, scan_threads=8)
    each_once(scan(upstream, request)[0], upstream.rows)
    assert upstream.most_slots == 8
    # 50 pages hold the rows; the rest is what sharing them costs.
    assert len(upstream.requests) <= most_requests


def test_a_page_holds_all_that_is_little() -> None:
    upstream = table([{"id": at} for at in range(9)])
    scan(upstream, request_of(upstream, "id", page_size=10))
    assert len(upstream.requests) == 1


def test_there_are_no_more_ranges_than_pages() -> None:
    upstream = table([{"id": at * 1000} for at in range(25)])
    scan(upstream, request_of(upstream, "id", page_size=10, scan_threads=32))
    assert upstream.most_slots == 3


ORDERS = {
    "ignoring case": lambda document_id: (document_id.lower(), document_id),
    "by length": lambda document_id: (len(document_id), document_id),
    "backwards": lambda document_id: document_id[::-1],
}


@pytest.mark.parametrize("order", list(ORDERS))
@settings(max_examples=40)
@given(
    st.lists(st.text("abAB\x7f", min_size=1, max_size=4), unique=True, max_size=40),
    st.integers(1, 5),
)
def test_an_order_of_ids_that_we_do_not_know_costs_no_document(
    order: str, all_ids: list[str], page_size: int
) -> None:
    documents = [{"id": each} for each in all_ids]
    upstream = table(documents)
    upstream.id_key = ORDERS[order]
    each_once(scan(upstream, request_of(upstream, "id", page_size=page_size))[0], documents)


@pytest.mark.parametrize("fails_at", [1, 2, 3, 9])
def test_a_failure_ends_the_scan_and_all_that_is_in_flight(fails_at: int) -> None:
    upstream = table([{"id": at} for at in range(400)])
    seen = 0

    def refuse(_query: Any) -> None:
        nonlocal seen
        seen += 1
        if seen == fails_at:
            raise UpstreamUnavailableError("the upstream answered 429: too many queries")

    upstream.refuse = refuse
    request = request_of(upstream, "id", page_size=10)

    async def run() -> int:
        with pytest.raises(UpstreamUnavailableError, match="answered 429"):
            await OriginScan(upstream).count(request)
        return len(asyncio.all_tasks())

    assert asyncio.run(run()) == 1
    assert len(upstream.requests) < 40


def test_an_answer_without_rows_is_the_upstreams_failure() -> None:
    upstream = table([{"id": 1}])
    upstream.answer = lambda _query, _answer: {}
    with pytest.raises(UpstreamUnavailableError, match="no rows"):
        scan(upstream, request_of(upstream, "id"))


@pytest.mark.parametrize("threads", [1, 4])
def test_an_upstream_that_answers_one_page_for_ever_is_a_failure(threads: int) -> None:
    upstream = table([{"id": at} for at in range(40)])
    page = [{"id": at} for at in range(10)]
    upstream.answer = lambda _query, _answer: {"rows": page}
    request = request_of(upstream, "id", page_size=10, scan_threads=threads)
    with pytest.raises(UpstreamUnavailableError, match="do not advance"):
        scan(upstream, request)


def test_pages_do_not_pile_up_behind_the_counter() -> None:
    upstream = table([{"id": at, "text": "x"} for at in range(500)])
    counted: list[int] = []
    request = request_of(upstream, "text", page_size=10, scan_threads=4)

    def advance(documents: int, _expected: int | None) -> None:
        # Pages asked for and not yet counted: at most one a thread.
        pages = sum(query.get("top_k") == 10 for query in upstream.requests)
        counted.append(pages - documents // 10)

    asyncio.run(OriginScan(upstream).count(request, on_progress=advance))
    # Pages that came back short are among those asked for; each range has one.
    assert max(counted) <= 4 + 4 * 8
