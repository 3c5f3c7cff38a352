"""The fetching half of DocumentService over doubles, as replicas that share a cache."""

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
from services.core.single_flight import SingleFlight
from services.document.cached_documents import CachedDocuments
from services.document.fetch_documents import FetchDocuments
from services.document.generations import Generations
from services.document.model import FetchedDocuments
from services.document.schemas import Schemas
from services.upstream.vector_store import VectorStore
from tests.doubles.fake_clock import FakeClock

__all__ = ["NS", "TTL_SECONDS", "WRITE_SECONDS", "Replica", "running_replica"]

NS = Namespace("products")
TTL_SECONDS = 300.0
WRITE_SECONDS = 60.0
_numbers = itertools.count()


@dataclass(frozen=True)
class Replica:
    """One process."""

    fetch: FetchDocuments
    generations: Generations
    cached: CachedDocuments

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


@asynccontextmanager
async def running_replica(
    upstream: VectorStore, cache: Cache, clock: Clock
) -> AsyncIterator[Replica]:
    """A process that has just started. Its beat is the test's to call."""
    # Unique in the test run, as real tokens are everywhere.
    generations = Generations(
        cache, clock, lambda: f"token-{next(_numbers)}", write_seconds=WRITE_SECONDS
    )
    cached = CachedDocuments(cache, clock, ttl_seconds=TTL_SECONDS)
    flights = SingleFlight[tuple[Namespace, str, str], bytes]()
    schemas = Schemas(upstream, clock, ttl_seconds=60)
    fetch = FetchDocuments(upstream, schemas, generations, cached, flights, clock)
    backfill = asyncio.create_task(cached.run())
    try:
        yield Replica(fetch, generations, cached)
    finally:
        backfill.cancel()
        await asyncio.gather(backfill, return_exceptions=True)
        await flights.close()
