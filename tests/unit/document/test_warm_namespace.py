"""Warm jobs: what they put into the cache, and when they must not say that it is complete."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from services.cache.cache import MAX_VALUE_BYTES
from services.core.job_book import JobBook, JobStatus
from services.core.job_runner import JobRunner
from services.document.schemas import Schemas
from services.document.warm_job import WarmJob, WarmRecord
from services.document.warm_namespace import WarmNamespace, warm_key
from tests.doubles.failing_cache import FailingCache
from tests.doubles.fake_clock import FakeClock
from tests.doubles.memory_cache import MemoryCache
from tests.doubles.table_store import TableVectorStore
from tests.unit.document.harness import NS, TTL_SECONDS, Replica, running_replica

RATE = 1000.0


@dataclass
class Warming:
    clock: FakeClock
    upstream: TableVectorStore
    memory: MemoryCache
    failing: FailingCache
    replica: Replica
    jobs: JobBook[WarmJob]
    start: WarmNamespace

    async def warm(self, page_size: int = 10) -> WarmJob:
        job = await self.start(NS, page_size)
        await self.jobs.idle()
        return self.jobs.get(NS, job.id)

    def record(self) -> WarmRecord | None:
        stored = self.memory.values.get(warm_key(NS))
        return msgspec.json.decode(stored[0], type=WarmRecord) if stored else None


@pytest.fixture
async def warming() -> AsyncIterator[Warming]:
    clock = FakeClock()
    upstream = TableVectorStore(NS, [{"id": n, "n": n, "vector": [1.0]} for n in range(1, 96)])
    memory = MemoryCache(clock)
    failing = FailingCache(memory)
    jobs = JobBook[WarmJob]("warm job")
    runner = JobRunner(jobs, clock)
    async with running_replica(upstream, failing, clock) as replica:

        class TickingClock(FakeClock):
            """The process lives on while the job waits."""

            async def sleep(self, seconds: float) -> None:
                clock.slept.append(seconds)
                replica.live(clock, max(seconds, 0.0))

            def now_ns(self) -> int:
                return clock.now_ns()

            def monotonic(self) -> float:
                return clock.monotonic()

        start = WarmNamespace(
            upstream=upstream,
            schemas=Schemas(upstream, clock, ttl_seconds=60),
            generations=replica.generations,
            cache=failing,
            jobs=jobs,
            runner=runner,
            clock=TickingClock(),
            new_id=iter(map(str, range(100))).__next__,
            ttl_seconds=TTL_SECONDS,
            documents_per_second=RATE,
            margin_ms=500,
        )
        yield Warming(clock, upstream, memory, failing, replica, jobs, start)
        await runner.close()


async def test_every_document_is_a_hit_afterwards(warming: Warming) -> None:
    started_ms = warming.clock.now_ns() // 1_000_000
    job = await warming.warm()
    assert (job.status, job.progress, job.documents_scanned) == (JobStatus.COMPLETED, 1.0, 95)
    assert job.stable_as_of_ms == started_ms - 500
    record = warming.record()
    assert record is not None
    assert (record.documents, record.id_lists) == (95, 10)
    warming.upstream.down = True
    fetched = await warming.replica.get(*(str(n) for n in range(1, 96)))
    assert fetched.cache_use == "hit"
    assert fetched.documents[94].attributes == {"n": 95}


async def test_an_empty_page_ends_a_namespace_of_whole_pages(warming: Warming) -> None:
    job = await warming.warm(page_size=95)
    assert (job.status, job.documents_scanned) == (JobStatus.COMPLETED, 95)


async def test_it_keeps_to_its_rate(warming: Warming) -> None:
    before = warming.clock.monotonic()
    await warming.warm()
    assert warming.clock.monotonic() - before >= 95 / RATE


async def test_a_write_through_the_gateway_ends_it(warming: Warming) -> None:
    answered = warming.upstream.answer

    def answer(query: Mapping[str, Any], rows: dict[str, Any]) -> dict[str, Any]:
        if len(warming.upstream.requests) == 5:
            # Envoy's notice, at the next turn of the loop.
            key = f"document-generation/{NS}"
            warming.memory.values[key] = (b"another 0", None)
        return answered(query, rows)

    warming.upstream.answer = answer
    job = await warming.warm()
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert "start again" in job.error
    assert warming.record() is None


async def test_a_document_that_does_not_fit_ends_it(warming: Warming) -> None:
    warming.upstream.rows[3]["text"] = "x" * (MAX_VALUE_BYTES + 4097)
    job = await warming.warm()
    assert (job.status, warming.record()) == (JobStatus.FAILED, None)


async def test_a_cache_that_fails_for_a_moment_does_not_end_it(warming: Warming) -> None:
    await warming.replica.value()
    await warming.replica.cached.idle()
    calls = warming.failing.calls
    warming.failing.fail_from = calls + 2
    sleep = warming.start._clock.sleep

    async def back(seconds: float) -> None:
        warming.failing.fail_from = None
        await sleep(seconds)

    warming.start._clock.sleep = back  # type: ignore[method-assign]
    assert (await warming.warm()).status is JobStatus.COMPLETED


@pytest.mark.parametrize("failure", ["cache", "upstream"])
async def test_what_is_down_is_said(warming: Warming, failure: str) -> None:
    (warming.failing if failure == "cache" else warming.upstream).down = True
    job = await warming.warm()
    assert (job.status, warming.record()) == (JobStatus.FAILED, None)
    assert job.error


async def test_a_running_job_is_answered_again(warming: Warming) -> None:
    first = await warming.start(NS, 10)
    second = await warming.start(NS, 10)
    assert first.id == second.id
    await warming.jobs.idle()
    assert (await warming.start(NS, 10)).id != first.id
    await warming.jobs.idle()


async def test_warmth_ends_before_the_first_document_does(warming: Warming) -> None:
    await warming.warm()
    _, until = warming.memory.values[warm_key(NS)]
    documents = [
        end for key, (_, end) in warming.memory.values.items() if key.startswith("document/")
    ]
    assert until is not None
    assert until <= min(end for end in documents if end is not None)
