"""Readers, writers and their backfills interleaved: nothing older than an answered write."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.doubles.fake_clock import FakeClock
from tests.doubles.memory_cache import MemoryCache
from tests.doubles.table_store import TableVectorStore
from tests.property.slow_world import Chance, SlowCache, SlowUpstream
from tests.unit.document.harness import NS, WRITE_SECONDS, Replica, running_replica

_TURNS = 60


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
    upstream = SlowUpstream(NS, [{"id": 1, "n": 0}], chance)
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
