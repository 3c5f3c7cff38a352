"""Warm jobs: what they put into the cache, and when they must not say that it is complete."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from services.cache.cache import MAX_VALUE_BYTES
from services.core.job_book import JobStatus
from services.document import warm_pages
from services.document.warm_state import WarmState
from tests.doubles.failing_cache import FailingCache
from tests.doubles.memory_cache import MemoryCache
from tests.doubles.table_store import TableVectorStore
from tests.unit.document.harness import (
    MARGIN_MS,
    NS,
    TTL_SECONDS,
    LivingClock,
    Replica,
    running_replica,
)

RATE = 1000.0


@dataclass
class Warming:
    clock: LivingClock
    upstream: TableVectorStore
    memory: MemoryCache
    failing: FailingCache
    replica: Replica

    def state(self) -> WarmState | None:
        """That of a warm namespace."""
        stored = self.stored("document-warm/")
        assert len(stored) <= 1
        return msgspec.json.decode(stored[0][0], type=WarmState) if stored else None

    def stored(self, prefix: str) -> list[tuple[bytes, float | None]]:
        """The values under some keys, and when they expire."""
        return [found for key, found in self.memory.values.items() if key.startswith(prefix)]


@pytest.fixture
async def warming() -> AsyncIterator[Warming]:
    clock = LivingClock()
    upstream = TableVectorStore(NS, [{"id": n, "n": n, "vector": [1.0]} for n in range(1, 96)])
    memory = MemoryCache(clock)
    failing = FailingCache(memory)
    async with running_replica(upstream, failing, clock, warm_rate=RATE) as replica:
        yield Warming(clock, upstream, memory, failing, replica)


async def test_every_document_is_a_hit_afterwards(warming: Warming) -> None:
    started_ms = warming.clock.now_ns() // 1_000_000
    job = await warming.replica.warm()
    assert (job.status, job.progress, job.documents_scanned) == (JobStatus.COMPLETED, 1.0, 95)
    assert job.stable_as_of_ms == started_ms - MARGIN_MS
    assert job.documents_resumed == 0
    state = warming.state()
    assert state is not None
    assert (state.documents, state.began_ms) == (95, started_ms)
    assert state.types == {"id": "uint", "n": "int", "vector": "[1]f32"}
    warming.upstream.down = True
    fetched = await warming.replica.get(*(str(n) for n in range(1, 96)))
    assert fetched.cache_use == "hit"
    assert fetched.documents[94].attributes == {"n": 95}


async def test_an_empty_page_ends_a_namespace_of_whole_pages(warming: Warming) -> None:
    job = await warming.replica.warm(page_size=95)
    assert (job.status, job.documents_scanned) == (JobStatus.COMPLETED, 95)


async def test_an_empty_namespace_is_warm(warming: Warming) -> None:
    warming.upstream.rows = []
    assert (await warming.replica.warm()).status is JobStatus.COMPLETED
    assert await warming.replica.warm_pages() == []


async def test_it_keeps_to_its_rate(warming: Warming) -> None:
    before = warming.clock.monotonic()
    await warming.replica.warm()
    assert warming.clock.monotonic() - before >= 95 / RATE


async def test_pages_grow_to_what_is_asked_for_and_shrink_with_large_documents(
    warming: Warming, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm_pages, "_FIRST_ROWS", 10)
    monkeypatch.setattr(warm_pages, "_PAGE_BYTES", 5000)
    for row in warming.upstream.rows[60:]:
        row["text"] = "x" * 2000
    await warming.replica.warm(page_size=30)
    limits = [request["top_k"] for request in warming.upstream.requests]
    assert limits[:3] == [10, 20, 30]
    assert limits[-3:] == [2, 2, 2]
    assert (await warming.replica.get("95")).cache_use == "hit"


async def test_a_write_through_the_gateway_ends_it(warming: Warming) -> None:
    answered = warming.upstream.answer

    def answer(query: Mapping[str, Any], rows: dict[str, Any]) -> dict[str, Any]:
        if len(warming.upstream.requests) == 5:
            # Envoy's notice, at the next turn of the loop.
            key = f"document-generation/{NS}"
            warming.memory.values[key] = (b"another 0", None)
        return answered(query, rows)

    warming.upstream.answer = answer
    job = await warming.replica.warm()
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert "start again" in job.error
    assert warming.state() is None


async def test_a_document_that_does_not_fit_ends_it(warming: Warming) -> None:
    warming.upstream.rows[3]["text"] = "x" * (MAX_VALUE_BYTES + 4097)
    job = await warming.replica.warm()
    assert (job.status, warming.state()) == (JobStatus.FAILED, None)


async def test_lists_of_long_ids_fit(warming: Warming) -> None:
    warming.upstream.rows = [{"id": f"\x01{n:063}"} for n in range(3000)]
    assert (await warming.replica.warm(page_size=3000)).status is JobStatus.COMPLETED
    pages = [msgspec.json.decode(page)["rows"] for page in await warming.replica.warm_pages()]
    assert [row for rows in pages for row in rows] == warming.upstream.rows


@pytest.mark.parametrize("call", range(1, 12))
async def test_a_cache_that_fails_for_a_moment_does_not_end_it(warming: Warming, call: int) -> None:
    """Whichever call it is that fails."""
    await warming.replica.value()
    await warming.replica.cached.idle()
    warming.failing.fail_from = warming.failing.calls + 1 + call
    advance = warming.clock.advance

    def back(seconds: float) -> None:
        if seconds > 0.1:
            warming.failing.fail_from = None
        advance(seconds)

    warming.clock.advance = back  # type: ignore[method-assign]
    job = await warming.replica.warm()
    assert job.status is JobStatus.COMPLETED, job.error


@pytest.mark.parametrize("failure", ["cache", "upstream"])
async def test_what_is_down_is_said(warming: Warming, failure: str) -> None:
    (warming.failing if failure == "cache" else warming.upstream).down = True
    job = await warming.replica.warm()
    assert (job.status, warming.state()) == (JobStatus.FAILED, None)
    assert job.error


async def test_a_running_job_is_answered_again(warming: Warming) -> None:
    start, jobs = warming.replica.start_warm, warming.replica.warm_jobs
    first = await start(NS, 10)
    second = await start(NS, 10)
    assert first.id == second.id
    await jobs.idle()
    assert (await start(NS, 10)).id != first.id
    await jobs.idle()


async def test_warmth_ends_before_the_first_document_does(warming: Warming) -> None:
    await warming.replica.warm()
    ((_, until),) = warming.stored("document-warm/")
    ends = [end for _, end in warming.stored("document/") + warming.stored("document-ids/")]
    assert until is not None
    assert until <= min(end for end in ends if end is not None)


async def test_documents_are_kept_from_when_they_were_read(warming: Warming) -> None:
    """However long the cache took."""
    asked_at = warming.clock.monotonic()

    def slow(query: Mapping[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        warming.clock.advance(3.0)
        return answer

    warming.upstream.answer = slow
    await warming.replica.warm(page_size=95)
    ends = {end for _, end in warming.stored("document/")}
    assert ends == {asked_at + TTL_SECONDS}


async def test_a_namespace_that_is_too_large_is_refused_at_once() -> None:
    clock = LivingClock()
    upstream = TableVectorStore(NS, [{"id": n} for n in range(95)])
    async with running_replica(
        upstream, MemoryCache(clock), clock, warm_rate=10, warm_ttl_seconds=9
    ) as replica:
        job = await replica.warm()
    assert job.status is JobStatus.FAILED
    assert job.error == (
        "the namespace has about 95 documents, and no more than 90 can be warm: documents are "
        "kept for LAYER_DOCUMENT_TTL_SECONDS (9; 3600 at most) and read at "
        "LAYER_WARM_DOCUMENTS_PER_SECOND (10) at most; raise what is too small"
    )
    assert not upstream.requests


async def test_a_job_that_takes_too_long_says_what_to_raise(warming: Warming) -> None:

    def slow(query: Mapping[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        warming.clock.advance(50.0)
        return answer

    warming.upstream.answer = slow
    job = await warming.replica.warm()
    assert (job.status, warming.state()) == (JobStatus.FAILED, None)
    assert job.error is not None
    assert job.error.startswith("50 of about 95 documents were read when the first one expired: ")
    assert "LAYER_DOCUMENT_TTL_SECONDS" in job.error


async def test_a_cache_that_is_too_small_is_said(warming: Warming) -> None:
    """It lets go of what expires first, which is what was read first."""

    def evict(query: Mapping[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        oldest = next((key for key in warming.memory.values if key.startswith("document/")), None)
        warming.memory.values.pop(str(oldest), None)
        return answer

    warming.upstream.answer = evict
    job = await warming.replica.warm()
    assert (job.status, warming.state()) == (JobStatus.FAILED, None)
    assert job.error is not None
    assert "too small" in job.error
