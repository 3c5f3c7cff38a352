"""Fetching through the cache: what is asked of whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from services.cache.cache import MAX_VALUE_BYTES
from services.cache.guarded import GuardedCache, GuardPolicy
from services.core.errors import ErrorKind, LayerError
from services.document.model import CacheUse
from services.upstream.vector_store import (
    NamespaceNotFoundError,
    UpstreamRejectedError,
    UpstreamUnavailableError,
)
from tests.doubles.failing_cache import FailingCache
from tests.doubles.fake_clock import FakeClock
from tests.doubles.memory_cache import MemoryCache
from tests.doubles.table_store import TableVectorStore
from tests.unit.document.harness import NS, Replica, running_replica

ROWS: list[dict[str, Any]] = [
    {"id": 1, "n": 1, "color": "red", "vector": [1.0, 2.0]},
    {"id": 2, "n": 2, "tags": ["a", "b"], "vector": [1.0, 2.0]},
    {"id": 3, "n": 3, "vector": [1.0, 2.0]},
]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def upstream() -> TableVectorStore:
    return TableVectorStore(NS, [dict(row) for row in ROWS])


@pytest.fixture
def failing(clock: FakeClock) -> FailingCache:
    return FailingCache(MemoryCache(clock))


@pytest.fixture
async def replica(
    upstream: TableVectorStore, failing: FailingCache, clock: FakeClock
) -> AsyncIterator[Replica]:
    policy = GuardPolicy(call_timeout_seconds=0.02, failures_to_open=1000)
    guarded = GuardedCache(failing, clock=clock, policy=policy)
    async with running_replica(upstream, guarded, clock) as running:
        yield running


async def warmed(replica: Replica, *ids: str) -> None:
    await replica.get(*ids)
    await replica.cached.idle()


async def test_one_batched_query_for_what_is_not_cached(
    replica: Replica, upstream: TableVectorStore
) -> None:
    await warmed(replica, "1")
    fetched = await replica.get("3", "1", "9", "2", "1", "007", "")
    assert [document.id for document in fetched.documents] == ["3", "1", "2"]
    assert fetched.missing == ["9", "007", ""]
    assert (fetched.cache_use, fetched.cached_ids) == (CacheUse.PARTIAL, {"1"})
    assert len(upstream.requests) == 2
    assert upstream.requests[1]["filters"] == ["id", "In", [3, 9, 2]]


async def test_a_hit_is_whole_without_vectors_and_needs_no_upstream(
    replica: Replica, upstream: TableVectorStore, clock: FakeClock
) -> None:
    await warmed(replica, "1", "2")
    upstream.down = True
    replica.live(clock, 61)  # the schema is not believed any more
    fetched = await replica.get("1", "2")
    assert fetched.documents[0].attributes == {"n": 1, "color": "red"}
    assert fetched.documents[1].attributes == {"n": 2, "tags": ["a", "b"]}
    assert fetched.cache_use is CacheUse.HIT
    with pytest.raises(UpstreamUnavailableError):
        await replica.get("1", "3")


async def test_attributes_are_chosen_after_caching(
    replica: Replica, upstream: TableVectorStore, clock: FakeClock
) -> None:
    first = await replica.get("1", include=["color", "vector"])
    assert first.documents[0].attributes == {"color": "red"}
    await replica.cached.idle()
    upstream.down = True
    second = await replica.get("1", include=["n", "tags", "id"])
    assert (second.documents[0].attributes, second.cache_use) == ({"n": 1}, CacheUse.HIT)
    upstream.down = False
    with pytest.raises(LayerError) as refused:
        await replica.get("1", include=["nope"])
    assert refused.value.kind is ErrorKind.VALIDATION


async def test_an_attribute_nobody_can_check_is_left_out(
    upstream: TableVectorStore, failing: FailingCache, clock: FakeClock
) -> None:
    """A hit in a process that has never seen the schema, while the upstream is down."""
    async with running_replica(upstream, failing, clock) as replica:
        await replica.generations.end_write(NS)
        await warmed(replica, "1")
        replica.fetch._schemas._known.clear()
        upstream.down = True
        fetched = await replica.get("1", include=["n", "nope"])
    assert (fetched.documents[0].attributes, fetched.cache_use) == ({"n": 1}, CacheUse.HIT)


async def test_a_missing_id_is_asked_for_again(
    replica: Replica, upstream: TableVectorStore
) -> None:
    await warmed(replica, "9")
    upstream.rows.append({"id": 9, "n": 9})
    assert await replica.value(doc_id="9") == (9, "miss")


async def test_an_unknown_namespace_is_not_found(
    replica: Replica, upstream: TableVectorStore
) -> None:
    upstream.namespace = "another"
    for ids in (["1"], ["x" * 65], [""]):
        with pytest.raises(NamespaceNotFoundError):
            await replica.get(*ids)


@pytest.mark.parametrize("count", [0, 1001])
async def test_no_or_too_many_ids_are_refused(replica: Replica, count: int) -> None:
    with pytest.raises(LayerError) as refused:
        await replica.get(*map(str, range(count)))
    assert refused.value.kind is ErrorKind.VALIDATION


async def test_documents_over_the_record_limit_are_not_cached(
    replica: Replica, upstream: TableVectorStore
) -> None:
    upstream.rows[0]["text"] = "x" * MAX_VALUE_BYTES
    await warmed(replica, "1", "2")
    fetched = await replica.get("1", "2")
    assert fetched.cached_ids == {"2"}
    assert replica.cached.counts.too_large == 2, "once a fetch"


@pytest.mark.parametrize("failure", ["down", "stuck"])
async def test_a_failing_cache_is_a_miss_and_no_error(
    replica: Replica, failing: FailingCache, failure: str
) -> None:
    await warmed(replica, "1")
    setattr(failing, failure, True)
    assert await replica.value() == (1, "miss-on-error")
    setattr(failing, failure, False)
    assert (await replica.value())[0] == 1


async def test_a_cache_that_fails_after_the_generation_is_a_miss(
    replica: Replica, failing: FailingCache
) -> None:
    await warmed(replica, "1")
    failing.fail_from = failing.calls + 2
    assert await replica.value() == (1, "miss-on-error")


async def test_a_document_is_served_for_its_time_only(
    replica: Replica, upstream: TableVectorStore, clock: FakeClock
) -> None:
    await warmed(replica, "1")
    upstream.rows[0]["n"] = 2  # past the gateway
    replica.live(clock, 299)
    assert await replica.value() == (1, "hit")
    replica.live(clock, 2)
    assert await replica.value() == (2, "miss")


async def test_a_recreated_namespace_with_other_ids_is_understood(
    replica: Replica, upstream: TableVectorStore
) -> None:
    def refuse(query: Any) -> None:
        if query["filters"] == ["id", "In", [1]]:
            raise UpstreamRejectedError(400, "ids are strings")

    await warmed(replica, "1")
    upstream.rows[:] = [{"id": "1", "n": 7}]
    upstream.refuse = refuse
    await replica.generations.end_write(NS)
    assert await replica.value() == (7, "miss")
