"""Writes, crashes, outages, warm jobs that go on and readers interleaved: what is called warm is
all there, and nothing of it is older than an answered write."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.errors import LayerError
from services.core.job_book import JobStatus
from tests.doubles.memory_cache import MemoryCache
from tests.property.slow_world import Chance, SlowCache, SlowUpstream
from tests.unit.document.harness import NS, LivingClock, Replica, running_replica

_T = TypeVar("_T")

_DOCUMENTS = 30
_RATE = 3.0
_TURNS = 80
_COARSE_NS = 4_000_000_000
"""The upstream's times, which are not documented to be fine."""


class GoneError(Exception):
    """The process ended before it answered, or there is none."""


class Process:
    """A replica that can be killed and started again; what is asked of it dies with it."""

    def __init__(self, world: World, link: SlowCache) -> None:
        self._world = world
        self._link = link
        self._stack: AsyncExitStack
        self._calls: set[asyncio.Task[Any]] = set()
        self.replica: Replica | None = None

    async def start(self) -> None:
        if self.replica is not None:
            return
        self._stack = AsyncExitStack()
        running = running_replica(
            self._world.upstream, self._link, self._world.clock, warm_rate=_RATE
        )
        self.replica = await self._stack.enter_async_context(running)

    async def kill(self) -> None:
        if self.replica is None:
            return
        self._world.count(self.replica)
        self.replica = None
        for call in self._calls:
            call.cancel()
        await self._stack.aclose()

    async def ask(self, call: Coroutine[Any, Any, _T]) -> _T:
        task = asyncio.create_task(call)
        self._calls.add(task)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise GoneError from None
            raise
        finally:
            self._calls.discard(task)


@dataclass
class World:
    """One gateway, replicas behind it, and what has been answered to writers."""

    chance: Chance
    clock: LivingClock = field(default_factory=LivingClock)
    processes: list[Process] = field(default_factory=list)
    answered: dict[int, int] = field(default_factory=dict)
    """The number of the last answered write, by document."""
    deleted: set[int] = field(default_factory=set)
    """By answered writes."""
    upstream_deleted: set[int] = field(default_factory=set)
    written: int = 0
    idle_seconds: float = 2.0
    owes_notice: bool = False
    vouched: int = 0
    completed: int = 0
    resumed: int = 0
    warm_reads: int = 0

    def __post_init__(self) -> None:
        rows = [{"id": n, "n": 0} for n in range(_DOCUMENTS)]
        self.upstream = SlowUpstream(NS, rows, self.chance)

    @property
    def random(self) -> random.Random:
        return self.chance.random

    def living(self) -> list[Process]:
        return [process for process in self.processes if process.replica is not None]

    def any_replica(self) -> tuple[Process, Replica]:
        living = self.living()
        if not living:
            raise GoneError
        process = self.random.choice(living)
        assert process.replica is not None
        return process, process.replica

    def count(self, replica: Replica) -> None:
        """Take what a process has done into the sums."""
        self.vouched += replica.generations.counts.vouched
        jobs = replica.warm_jobs.list(NS)
        self.completed += sum(job.status is JobStatus.COMPLETED for job in jobs)
        self.resumed += sum(job.documents_resumed > 0 for job in jobs)

    async def notice(self, kind: str) -> None:
        """As Envoy's filter: a write that is told to nobody is answered all the same. Then there
        was nobody: a notice that only one of several replicas misses is another story (README)."""
        for _ in range(2):
            with suppress(GoneError):
                process, replica = self.any_replica()
                generations = replica.generations
                call = generations.begin_write if kind == "begin" else generations.end_write
                await process.ask(call(NS))
                if kind == "end":
                    self.owes_notice = False
                return
        if kind == "end":
            for process in self.processes:
                await process.kill()
            # Another gateway, or this one after a restart, owes nothing.
            self.owes_notice = self.random.random() < 0.3

    async def write(self, how: float | None = None, document_id: int | None = None) -> None:
        how = self.random.random() if how is None else how
        if how < 0.4:
            for process in self.processes:
                await process.kill()
        elif how < 0.9:
            await self.notice("begin")
        await self.chance.pause(12)
        self.written += 1
        number = self.written
        document_id = self.some_id() if document_id is None else document_id
        deletes = self.random.random() < 0.2
        self.apply(number, document_id, deletes=deletes)
        await self.chance.pause(12)
        if 0.4 <= how < 0.6:
            # Nobody's code runs for longer than the gateway waits.
            self.clock.stand_still(3.0)
        else:
            await self.notice("end")
        if deletes:
            self.deleted.add(document_id)
        else:
            self.answered[document_id] = max(number, self.answered.get(document_id, 0))

    def some_id(self) -> int:
        return self.random.randrange(_DOCUMENTS + 5)

    def apply(self, number: int, document_id: int, *, deletes: bool) -> None:
        """At one moment: a document is deleted for good, changed, or made."""
        rows = [row for row in self.upstream.rows if row["id"] != document_id]
        if not deletes and document_id not in self.upstream_deleted:
            rows.append({"id": document_id, "n": number})
        else:
            self.upstream_deleted.add(document_id)
        self.upstream.rows = sorted(rows, key=lambda row: int(row["id"]))
        self.upstream.written_at = str(self.clock.now_ns() // _COARSE_NS)

    async def fetch(self, document_id: int | None = None) -> None:
        document_id = self.some_id() if document_id is None else document_id
        least = self.answered.get(document_id, 0)
        was_deleted = document_id in self.deleted
        process, replica = self.any_replica()
        if self.owes_notice:
            with suppress(GoneError):
                await process.ask(replica.generations.end_write(NS))
                self.owes_notice = False
        fetched = await process.ask(
            replica.fetch(NS, [str(document_id)], None, use_cache=not self.owes_notice)
        )
        found = [int(document.attributes["n"]) for document in fetched.documents]
        self.check(document_id, found[0] if found else None, least, was_deleted)

    def check(self, document_id: int, n: int | None, least: int, was_deleted: bool) -> None:
        if n is None:
            assert least == 0 or document_id in self.upstream_deleted, f"{document_id} is missing"
        else:
            assert not was_deleted, f"{document_id} was deleted"
            assert n >= least, f"{document_id} is {n} after {least} was answered"

    async def read_warm(self) -> None:
        answered, deleted = dict(self.answered), set(self.deleted)
        present = {int(row["id"]) for row in self.upstream.rows}
        process, replica = self.any_replica()
        pages = await process.ask(replica.warm_pages())
        rows = [row for page in pages for row in msgspec.json.decode(page)["rows"]]
        found = {int(row["id"]): int(row["n"]) for row in rows}
        assert len(found) == len(rows), "a document twice"
        for document_id in range(_DOCUMENTS + 5):
            least = answered.get(document_id, 0)
            self.check(document_id, found.get(document_id), least, document_id in deleted)
        missing = present - found.keys() - self.upstream_deleted
        assert all(document_id >= _DOCUMENTS for document_id in missing), f"{missing} are missing"
        self.warm_reads += 1

    async def warm(self) -> None:
        process, replica = self.any_replica()
        await process.ask(replica.start_warm(NS, self.random.choice([1, 3, 7, 100])))

    async def burst(self) -> None:
        """A write, a job that begins in the same moment of the upstream's, and in that moment a
        write of which nobody hears."""
        for process in self.processes:
            await process.kill()
            await process.start()
        await self.write(how=0.7)
        process, replica = self.any_replica()
        job = await process.ask(replica.start_warm(NS, self.random.choice([1, 3])))
        least = self.random.randrange(3, 12)
        for _ in range(100):
            await self.chance.pause(20)
            if replica.warm_jobs.get(NS, job.id).documents_scanned >= least:
                break
        document_id = self.random.randrange(least)
        await self.write(how=0.0, document_id=document_id)
        await self.restart()
        await self.fetch(document_id)

    async def restart(self) -> None:
        process = self.random.choice(self.processes)
        await process.kill()
        await self.chance.pause(20)
        await process.start()

    async def turns(self, weights: dict[str, float]) -> None:
        for _ in range(_TURNS):
            (name,) = self.random.choices(list(weights), list(weights.values()))
            with suppress(GoneError, LayerError):
                await getattr(self, name)()
            for _ in range(self.random.randrange(3)):
                await self.chance.pause(20)

    async def idle(self) -> None:
        """Time for jobs."""
        await self.clock.sleep(self.random.random() * self.idle_seconds)


async def run(
    seed: int,
    *,
    replicas: int,
    outages: float = 0.0,
    failing: bool = False,
    bursts: bool = False,
) -> World:
    world = World(Chance(random.Random(seed), failing))
    world.upstream.outages = outages
    shared = MemoryCache(world.clock)
    links = [SlowCache(shared, world.chance) for _ in range(replicas)]
    world.processes = [Process(world, link) for link in links]
    for process in world.processes:
        await process.start()
    writing = {"write": 0.1, "idle": 0.9}
    if bursts:
        writing, world.idle_seconds = {"burst": 0.1, "idle": 0.9}, 0.2
    restarting = {"restart": 0.2, "idle": 0.8}
    reading = {"fetch": 0.4, "read_warm": 0.4, "warm": 0.2}
    async with asyncio.TaskGroup() as group:
        for weights in (writing, restarting, reading, reading):
            group.create_task(world.turns(weights))
    for link in links:
        await link.close()
    for process in world.processes:
        await process.kill()
    return world


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    replicas=st.integers(1, 3),
    outages=st.sampled_from([0.0, 0.05]),
    bursts=st.booleans(),
)
def test_what_is_warm_is_whole_and_not_older_than_an_answered_write(
    seed: int, replicas: int, outages: float, bursts: bool
) -> None:
    asyncio.run(run(seed, replicas=replicas, outages=outages, bursts=bursts))


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32), bursts=st.booleans())
def test_nor_with_a_cache_that_fails_now_and_then(seed: int, bursts: bool) -> None:
    asyncio.run(run(seed, replicas=1, failing=True, bursts=bursts))


def test_jobs_end_and_go_on_in_these_runs() -> None:
    """So that the properties say something."""
    worlds = [asyncio.run(run(seed, replicas=2)) for seed in range(40)]
    assert sum(world.written for world in worlds) > 40
    sums = [
        sum(getattr(world, name) for world in worlds)
        for name in ("completed", "resumed", "vouched", "warm_reads")
    ]
    assert min(sums) > 5, sums
