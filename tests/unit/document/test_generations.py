"""What a process may believe of the shared cache."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

import pytest

from services.cache.cache import Cache
from services.core.ids import Namespace
from services.document import generations as module
from services.document.generations import CacheState
from tests.doubles.failing_cache import FailingCache
from tests.doubles.fake_clock import FakeClock
from tests.doubles.memory_cache import MemoryCache
from tests.doubles.table_store import TableVectorStore
from tests.unit.document.harness import NS, Replica, running_replica


class World:
    """An upstream, a shared cache, and replicas with a link each."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self.clock = FakeClock()
        self.upstream = TableVectorStore(NS, [{"id": 1, "n": 0}])
        self.shared = MemoryCache(self.clock)
        self._stack = stack

    async def replica(self) -> tuple[Replica, FailingCache]:
        link = FailingCache(self.shared)
        running = running_replica(self.upstream, link, self.clock)
        return await self._stack.enter_async_context(running), link

    def write(self, n: int) -> None:
        """Upstream, with no notice yet."""
        self.upstream.rows[0]["n"] = n


class LateAnswers(FailingCache):
    """Puts take effect at once; their answers wait while `held`."""

    def __init__(self, inner: Cache) -> None:
        super().__init__(inner)
        self.held = False
        self.go = asyncio.Event()

    async def put_many(
        self, values: Mapping[str, bytes], *, ttl_seconds: float | None = None
    ) -> int:
        held = self.held
        kept = await super().put_many(values, ttl_seconds=ttl_seconds)
        if held:
            await self.go.wait()
        return kept


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        yield World(stack)


async def cached(replica: Replica, n: int) -> None:
    await replica.value()
    await replica.cached.idle()
    assert await replica.value() == (n, "hit")


async def test_what_one_replica_caches_another_that_knows_the_namespace_serves(
    world: World,
) -> None:
    (first, _), (second, _) = await world.replica(), await world.replica()
    await first.value()
    await second.value()
    await second.cached.idle()
    assert await first.value() == (0, "hit")
    await first.generations.end_write(NS)
    assert (await second.value())[1] == "miss"


async def test_a_process_that_has_just_started_believes_nothing(world: World) -> None:
    old, _ = await world.replica()
    await cached(old, 0)
    world.write(1)
    new, _ = await world.replica()
    assert await new.value() == (1, "miss")
    assert (await old.value())[0] == 1


async def test_a_process_that_stood_still_believes_nothing(world: World) -> None:
    replica, _ = await world.replica()
    await cached(replica, 0)
    world.write(1)
    world.clock.advance(1.1)
    assert await replica.value() == (1, "miss")
    assert replica.generations.counts.stood_still == 1
    replica.live(world.clock, 10)
    assert replica.generations.counts.stood_still == 1


async def test_a_notice_that_cannot_be_stored_is_owed_to_the_others(world: World) -> None:
    (told, link), (other, _) = await world.replica(), await world.replica()
    await told.value()
    await cached(other, 0)
    link.down = True
    world.write(1)
    await told.generations.end_write(NS)
    assert await told.value() == (1, "miss-on-error")
    link.down = False
    settling = asyncio.create_task(told.generations.settle())
    try:
        for _ in range(20):
            await asyncio.sleep(0)
    finally:
        settling.cancel()
        await asyncio.gather(settling, return_exceptions=True)
    assert (await other.value())[0] == 1


async def test_writes_of_an_outage_log_one_line_a_namespace(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    replica, link = await world.replica()
    for _ in range(2):
        link.down = True
        for _ in range(3):
            await replica.generations.begin_write(NS)
            await replica.generations.end_write(NS)
        link.down = False
        await replica.value()
    lines = [record.getMessage() for record in caplog.records]
    assert lines == ["generation not stored yet"] * 2


async def test_the_namespaces_believed_in_are_bounded(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_TRUSTED", 2)
    monkeypatch.setattr(module, "_OWED", 2)
    replica, link = await world.replica()
    names = [Namespace(name) for name in ("a", "b", "c")]
    tokens = [(await replica.generations.current(name)).generation for name in names]
    assert await replica.generations.peek(names[0]) == CacheState(None)
    assert await replica.generations.peek(names[2]) == CacheState(tokens[2])
    link.down = True
    for name in names:
        await replica.generations.end_write(name)
    assert replica.generations.counts.owed_dropped == 1


async def test_a_lost_generation_makes_a_new_one(world: World) -> None:
    replica, _ = await world.replica()
    await cached(replica, 0)
    await world.shared.delete([f"document-generation/{NS}"])
    assert await replica.value() == (0, "miss")


async def test_peeking_mints_nothing(world: World) -> None:
    (first, link), (second, _) = await world.replica(), await world.replica()
    await cached(first, 0)
    assert await second.generations.peek(NS) == CacheState(None)
    assert await first.value() == (0, "hit")
    link.down = True
    assert await first.generations.peek(NS) == CacheState(None, is_failing=True)
    link.down = False
    await first.generations.begin_write(NS)
    assert await first.generations.peek(NS) == CacheState(None)


async def test_trust_that_was_asked_for_before_a_doubt_is_not_given_after_it(
    world: World,
) -> None:
    link = LateAnswers(world.shared)
    async with running_replica(world.upstream, link, world.clock) as replica:
        link.held = True
        slow = asyncio.create_task(replica.value())
        await asyncio.sleep(0)
        link.held = False
        await cached(replica, 0)
        link.down = True
        world.write(1)
        await replica.generations.end_write(NS)
        link.down = False
        link.go.set()
        await slow
        assert await replica.value() == (1, "miss")
