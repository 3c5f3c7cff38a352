"""DocumentService's use cases over doubles, as replicas that share a cache."""

from __future__ import annotations

import asyncio
import itertools
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from services.cache.cache import Cache
from services.core.clock import Clock
from services.core.ids import Namespace
from services.core.job_book import JobBook
from services.core.job_runner import JobRunner
from services.core.single_flight import SingleFlight
from services.document.cached_documents import CachedDocuments
from services.document.fetch_documents import FetchDocuments
from services.document.generations import Generations
from services.document.last_write import UpstreamWitness
from services.document.model import FetchedDocuments
from services.document.read_warm import ReadWarm
from services.document.schemas import Schemas
from services.document.warm_job import WarmJob
from services.document.warm_limits import WarmLimits
from services.document.warm_namespace import WarmNamespace
from services.document.warm_run import WarmTools
from services.upstream.vector_store import VectorStore
from tests.doubles.fake_clock import FakeClock

__all__ = [
    "MARGIN_MS",
    "NS",
    "TTL_SECONDS",
    "WRITE_SECONDS",
    "LivingClock",
    "Replica",
    "running_replica",
]

NS = Namespace("products")
TTL_SECONDS = 300.0
WRITE_SECONDS = 60.0
MARGIN_MS = 500
_numbers = itertools.count()


@dataclass(frozen=True)
class Replica:
    """One process."""

    fetch: FetchDocuments
    generations: Generations
    cached: CachedDocuments
    read_warm: ReadWarm
    start_warm: WarmNamespace
    warm_jobs: JobBook[WarmJob]
    warm_runner: JobRunner[WarmJob]

    async def get(self, *ids: str, include: list[str] | None = None) -> FetchedDocuments:
        return await self.fetch(NS, list(ids), include)

    def live(self, clock: FakeClock, seconds: float) -> None:
        """Let time pass while the process runs as usual."""
        for _ in range(math.ceil(seconds / 0.5)):
            clock.advance(0.5)
            self.generations.tick()

    async def value(self, name: str = "n", doc_id: str = "1") -> Any:
        """One attribute of a document, and what the cache had of it."""
        fetched = await self.get(doc_id)
        found = [document.attributes.get(name) for document in fetched.documents]
        return (found[0] if found else None, fetched.cache_use.value)

    async def warm(self, page_size: int = 10) -> WarmJob:
        """A warm job, once it has ended."""
        job = await self.start_warm(NS, page_size)
        await self.warm_jobs.idle()
        return self.warm_jobs.get(NS, job.id)

    async def warm_pages(self) -> list[bytes]:
        """Every document of the namespace, which is warm."""
        state = await self.read_warm.state(NS)
        return [page async for page in self.read_warm.pages(NS, state)]


class LivingClock(FakeClock):
    """While it moves, the replicas that it is given to live on."""

    def __init__(self) -> None:
        super().__init__()
        self.living: list[Generations] = []

    def advance(self, seconds: float) -> None:
        while seconds > 0:
            step = min(seconds, 0.5)
            super().advance(step)
            seconds -= step
            for generations in self.living:
                generations.tick()

    def stand_still(self, seconds: float) -> None:
        """Nobody's code runs for so long."""
        super().advance(seconds)


@asynccontextmanager
async def running_replica(
    upstream: VectorStore,
    cache: Cache,
    clock: Clock,
    *,
    warm_rate: float = 1e9,
    warm_ttl_seconds: float = TTL_SECONDS,
) -> AsyncIterator[Replica]:
    """A process that has just started. Its beat is the test's to call, or the clock's.

    Leaving the context is its end, as sudden as a kill: nothing more is done.
    """
    # Unique in the test run, as real tokens are everywhere.
    generations = Generations(
        cache,
        clock,
        lambda: f"token-{next(_numbers)}",
        vouch=UpstreamWitness(upstream, cache),
        write_seconds=WRITE_SECONDS,
    )
    if isinstance(clock, LivingClock):
        clock.living.append(generations)
    cached = CachedDocuments(cache, clock, ttl_seconds=TTL_SECONDS)
    flights = SingleFlight[tuple[Namespace, str, str], bytes]()
    schemas = Schemas(upstream, clock, ttl_seconds=60)
    fetch = FetchDocuments(upstream, schemas, generations, cached, flights, clock)
    jobs = JobBook[WarmJob]("warm job")
    runner = JobRunner(jobs, clock)
    limits = WarmLimits(warm_ttl_seconds, warm_rate, MARGIN_MS)
    warm = WarmNamespace(
        tools=WarmTools(upstream, generations, cache, clock, limits),
        schemas=schemas,
        jobs=jobs,
        runner=runner,
        new_id=lambda: f"job-{next(_numbers)}",
    )
    read_warm = ReadWarm(cache, generations)
    backfill = asyncio.create_task(cached.run())
    try:
        yield Replica(fetch, generations, cached, read_warm, warm, jobs, runner)
    finally:
        if isinstance(clock, LivingClock):
            clock.living.remove(generations)
        await runner.close()
        backfill.cancel()
        await asyncio.gather(backfill, return_exceptions=True)
        await flights.close()
