"""Readers, writers and their backfills interleaved: nothing older than an answered write."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.cache.cache import CacheUnavailableError
from services.core.ids import Namespace
from tests.doubles.fake_clock import FakeClock
from tests.doubles.memory_cache import MemoryCache
from tests.doubles.table_store import TableVectorStore
from tests.unit.document.harness import NS, WRITE_SECONDS, Replica, running_replica

_TURNS = 60


@dataclass
class Chance:
    """Decides, from a seed, how long each step of anybody takes."""

    random: random.Random
    failing: bool = False

    async def pause(self, most: int = 6) -> None:
        for _ in range(self.random.randrange(most)):
            await asyncio.sleep(0)


class SlowCache:
    """A replica's link to the shared cache: calls take effect late, and may fail before or
    after they did, as a put does that times out."""

    def __init__(self, inner: MemoryCache, chance: Chance) -> None:
        self._inner = inner
        self._chance = chance
        self._late: set[asyncio.Task[int]] = set()

    async def get_many(self, keys: Sequence[str]) -> Mapping[str, bytes]:
        await self._chance.pause()
        self._fail()
        found = await self._inner.get_many(keys)
        await self._chance.pause()
        return found

    async def put_many(
        self, values: Mapping[str, bytes], *, ttl_seconds: float | None = None
    ) -> int:
        if self._fails():
            if self._chance.random.random() < 0.5:
                # Given up by the caller, and carried out all the same, some time.
                late = asyncio.create_task(self._put(values, ttl_seconds, 30))
                self._late.add(late)
            raise CacheUnavailableError("took too long")
        return await self._put(values, ttl_seconds, 6)

    async def _put(self, values: Mapping[str, bytes], ttl: float | None, most: int) -> int:
        await self._chance.pause(most)
        kept = await self._inner.put_many(values, ttl_seconds=ttl)
        await self._chance.pause()
        return kept

    async def delete(self, keys: Sequence[str]) -> None:
        raise AssertionError("not used for documents")

    async def put_member(
        self, group: str, member: str, value: bytes, *, ttl_seconds: float
    ) -> bool:
        raise AssertionError("not used for documents")

    async def members(self, group: str) -> Mapping[str, bytes]:
        raise AssertionError("not used for documents")

    async def close(self) -> None:
        await asyncio.gather(*self._late)

    def _fails(self) -> bool:
        return self._chance.failing and self._chance.random.random() < 0.3

    def _fail(self) -> None:
        if self._fails():
            raise CacheUnavailableError("down")


class SlowUpstream(TableVectorStore):
    """Answers with what is there at some moment between question and answer."""

    def __init__(self, chance: Chance) -> None:
        super().__init__(NS, [{"id": 1, "n": 0}])
        self._chance = chance

    async def query(self, namespace: Namespace, request: Mapping[str, object]) -> bytes:
        await self._chance.pause(12)
        answer = await super().query(namespace, request)
        await self._chance.pause(12)
        return answer


@dataclass
class World:
    chance: Chance
    clock: FakeClock
    upstream: SlowUpstream
    replicas: list[Replica]
    acknowledged: int = 0
    written: int = 0
    hits: int = 0
    reads: int = 0

    async def write(self, replica: Replica) -> None:
        """As the gateway does it; sometimes the first notice is lost."""
        if self.chance.random.random() < 0.7:
            await replica.generations.begin_write(NS)
        await self.chance.pause(12)
        self.written += 1
        number = self.written
        self.upstream.rows[0]["n"] = number
        await self.chance.pause(12)
        await replica.generations.end_write(NS)
        self.acknowledged = max(self.acknowledged, number)

    async def read(self, replica: Replica) -> None:
        least = self.acknowledged
        value, use = await replica.value()
        assert value >= least, f"{value} ({use}) after {least} was acknowledged"
        self.reads += 1
        self.hits += use == "hit"

    async def turn(self, actor: random.Random, replica: Replica) -> None:
        for _ in range(_TURNS):
            if actor.random() < 0.15:
                await self.write(replica)
            else:
                await self.read(replica)
            await self.chance.pause()


async def run(seed: int, *, replicas: int, actors: int, failing: bool) -> World:
    chance = Chance(random.Random(seed), failing)
    clock = FakeClock()
    shared = MemoryCache(clock)
    upstream = SlowUpstream(chance)
    async with AsyncExitStack() as stack:
        links = [SlowCache(shared, chance) for _ in range(replicas)]
        running = [
            await stack.enter_async_context(running_replica(upstream, link, clock))
            for link in links
        ]
        world = World(chance, clock, upstream, running)
        async with asyncio.TaskGroup() as group:
            for number in range(actors):
                actor = random.Random(f"{seed} {number}")
                group.create_task(world.turn(actor, running[number % replicas]))
        for link in links:
            await link.close()
        chance.failing = False
        for replica in running:
            await replica.cached.idle()
            await world.read(replica)
    return world


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), replicas=st.integers(1, 3))
def test_reads_never_go_behind_an_answered_write(seed: int, replicas: int) -> None:
    world = asyncio.run(run(seed, replicas=replicas, actors=5, failing=False))
    assert world.reads > _TURNS


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_nor_does_one_replica_whose_cache_fails_now_and_then(seed: int) -> None:
    asyncio.run(run(seed, replicas=1, actors=5, failing=True))


def test_the_cache_is_used_in_these_runs() -> None:
    """So that the properties say something."""
    worlds = [asyncio.run(run(seed, replicas=2, actors=4, failing=False)) for seed in range(10)]
    assert sum(world.hits for world in worlds) > 100


async def test_a_write_whose_end_is_not_heard_of_is_seen_when_its_time_is_over() -> None:
    clock = FakeClock()
    upstream: Any = TableVectorStore(NS, [{"id": 1, "n": 0}])
    async with running_replica(upstream, MemoryCache(clock), clock) as replica:
        await replica.value()
        await replica.cached.idle()
        assert await replica.value() == (0, "hit")
        await replica.generations.begin_write(NS)
        assert await replica.value() == (0, "miss")
        await replica.cached.idle()
        assert await replica.value() == (0, "miss"), "nothing is cached meanwhile"
        upstream.rows[0]["n"] = 1
        replica.live(clock, WRITE_SECONDS + 1)
        assert await replica.value() == (1, "miss")
