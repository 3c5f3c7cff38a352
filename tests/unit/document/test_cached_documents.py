"""Documents on their way into the cache: bounded, and every one that is lost is counted."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from services.cache.cache import MAX_VALUE_BYTES
from services.document import cached_documents as module
from services.document.cached_documents import CachedDocuments
from tests.doubles.failing_cache import FailingCache
from tests.doubles.fake_clock import FakeClock
from tests.doubles.memory_cache import MemoryCache
from tests.unit.document.harness import NS


@dataclass
class Keeping:
    """What is kept is cached once the test lets it."""

    clock: FakeClock
    link: FailingCache
    cached: CachedDocuments

    async def run(self) -> None:
        task = asyncio.create_task(self.cached.run())
        await self.cached.idle()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def keeping() -> Keeping:
    clock = FakeClock()
    link = FailingCache(MemoryCache(clock))
    return Keeping(clock, link, CachedDocuments(link, clock, ttl_seconds=10))


async def test_what_is_kept_is_there_until_its_time_is_over(keeping: Keeping) -> None:
    keeping.cached.keep(NS, "g", {"1": b"one", "2": b"two"}, read_at=keeping.clock.monotonic())
    keeping.clock.advance(4)
    await keeping.run()
    assert keeping.cached.counts.kept == 2
    found = await keeping.cached.get(NS, "g", ["1", "2", "3"])
    assert found == {"1": b"one", "2": b"two"}
    assert await keeping.cached.get(NS, "h", ["1"]) == {}
    keeping.clock.advance(6)
    assert await keeping.cached.get(NS, "g", ["1"]) == {}


async def test_what_waited_too_long_is_dropped(keeping: Keeping) -> None:
    keeping.cached.keep(NS, "g", {"1": b"one"}, read_at=keeping.clock.monotonic())
    keeping.clock.advance(10)
    await keeping.run()
    assert (keeping.cached.counts.kept, keeping.cached.counts.dropped) == (0, 1)


async def test_what_is_too_large_or_fails_is_counted(keeping: Keeping) -> None:
    rows = {"1": b"x" * (MAX_VALUE_BYTES + 1), "2": b"two"}
    keeping.link.down = True
    keeping.cached.keep(NS, "g", rows, read_at=keeping.clock.monotonic())
    await keeping.run()
    counts = keeping.cached.counts
    assert (counts.kept, counts.too_large, counts.failed) == (0, 1, 1)


@pytest.mark.parametrize("size", [8, 1000])
async def test_what_waits_is_bounded_however_small_rows_are(
    keeping: Keeping, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(module, "WAITING_BYTES", 100_000)
    rows = {str(n): b"x" * size for n in range(1000)}
    keeping.cached.keep(NS, "g", rows, read_at=keeping.clock.monotonic())
    await keeping.run()
    counts = keeping.cached.counts
    assert counts.kept + counts.dropped == 1000
    assert 0 < counts.kept <= 100_000 / (size + 300)
    keeping.cached.keep(NS, "g", {"1": b"one"}, read_at=keeping.clock.monotonic())
    await keeping.run()
    assert keeping.cached.counts.kept == counts.kept, "there is room again"
