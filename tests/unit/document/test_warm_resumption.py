"""Warm jobs that go on where another stopped, and when they must begin anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from services.core.errors import LayerError
from services.core.job_book import JobStatus
from services.document import warm_namespace
from services.document.last_write import SETTLED_SECONDS
from services.document.warm_job import WarmJob
from services.upstream.vector_store import UpstreamUnavailableError
from tests.doubles.failing_cache import FailingCache
from tests.doubles.memory_cache import MemoryCache
from tests.doubles.table_store import TableVectorStore
from tests.unit.document.harness import MARGIN_MS, NS, LivingClock, Replica, running_replica

ROWS = 200
RATE = 10.0
PAGE = 10
SETTLED_PAGE = int(SETTLED_SECONDS * RATE / PAGE) + 3
"""By then the last write is known to be the last, and that is saved."""


@dataclass
class World:
    """200 documents, read at 10 a second, a page a second."""

    clock: LivingClock = field(default_factory=LivingClock)
    link: FailingCache = field(init=False)
    memory: MemoryCache = field(init=False)
    upstream: TableVectorStore = field(init=False)
    pages: int = 0

    def __post_init__(self) -> None:
        self.memory = MemoryCache(self.clock)
        self.link = FailingCache(self.memory)
        self.upstream = TableVectorStore(NS, [{"id": n, "n": 0} for n in range(ROWS)])
        self.breaking: asyncio.Event | None = None
        self.break_at = 0
        self.upstream.refuse = self._meet

    def replica(self, **options: Any) -> AbstractAsyncContextManager[Replica]:
        return running_replica(self.upstream, self.link, self.clock, warm_rate=RATE, **options)

    async def broken_off(self, replica: Replica, page: int) -> WarmJob:
        """A job that fails since the upstream does not answer for a page, from 1."""
        self.pages, self.break_at = 0, page
        job = await replica.warm(PAGE)
        self.break_at = 0
        assert job.status is JobStatus.FAILED
        return job

    async def killed(self, page: int, **options: Any) -> WarmJob:
        """A job whose process is killed while it waits for a page."""
        self.pages, self.break_at, self.breaking = 0, page, asyncio.Event()
        async with self.replica(**options) as replica:
            job = await replica.start_warm(NS, PAGE)
            await self.breaking.wait()
        self.break_at, self.breaking = 0, None
        self.pages = 0
        return job

    def write(self, n: int) -> None:
        """Upstream, with no notice."""
        self.upstream.rows[1]["n"] = n
        self.upstream.written_at = f"2026-09-21T14:13:21.{n:03}Z"

    async def is_warm(self, replica: Replica) -> bool:
        """Whether it is; then with exactly the documents that there are."""
        try:
            pages = await replica.warm_pages()
        except LayerError:
            return False
        rows = [row for page in pages for row in msgspec.json.decode(page)["rows"]]
        assert rows == self.upstream.rows
        return True

    def _meet(self, query: Mapping[str, Any]) -> None:
        if query["top_k"] == 1:
            return
        self.pages += 1
        if self.pages == self.break_at:
            if self.breaking is None:
                raise UpstreamUnavailableError("the upstream is down")
            self.breaking.set()
            raise asyncio.CancelledError


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def replica(world: World) -> AsyncIterator[Replica]:
    async with world.replica() as running:
        yield running


def went_on(job: WarmJob, first: WarmJob, documents: int) -> None:
    """A job completed with what another had done, and with that one's watermark."""
    assert (job.status, job.progress, job.error) == (JobStatus.COMPLETED, 1.0, None)
    assert (job.documents_scanned, job.documents_resumed) == (ROWS, documents)
    assert job.stable_as_of_ms == first.created_at_ms - MARGIN_MS


def began_anew(job: WarmJob) -> None:
    assert (job.status, job.documents_resumed) == (JobStatus.COMPLETED, 0), job.error
    assert job.documents_scanned == ROWS
    assert job.stable_as_of_ms == job.created_at_ms - MARGIN_MS


async def test_a_job_goes_on_after_an_upstream_outage(world: World, replica: Replica) -> None:
    first = await world.broken_off(replica, 4)
    assert first.error == "the upstream is down; start the job again, to go on from here"
    assert first.documents_scanned == 30
    assert not await world.is_warm(replica)
    world.clock.advance(10)
    job = await replica.warm(PAGE)
    went_on(job, first, 30)
    asked = [request.get("filters") for request in world.upstream.requests[4:]]
    assert asked[0] == ["id", "Gt", 29], "what was read is not read again"
    assert await world.is_warm(replica)


async def test_a_job_goes_on_after_a_cache_outage(world: World, replica: Replica) -> None:
    answered = world.upstream.answer

    def answer(query: Mapping[str, Any], rows: dict[str, Any]) -> dict[str, Any]:
        world.link.down = world.pages == 4
        return answered(query, rows)

    world.upstream.answer = answer
    first = await replica.warm(PAGE)
    assert (first.status, first.documents_scanned) == (JobStatus.FAILED, 30)
    world.link.down = False
    went_on(await replica.warm(PAGE), first, 30)
    assert await world.is_warm(replica)


async def test_another_replica_goes_on_after_a_kill(world: World) -> None:
    first = await world.killed(SETTLED_PAGE)
    world.clock.advance(10)
    async with world.replica() as other:
        job = await other.warm(PAGE)
        assert job.documents_resumed >= (SETTLED_PAGE - 3) * PAGE
        went_on(job, first, job.documents_resumed)
        assert other.generations.counts.minted == 0
        assert other.generations.counts.vouched == 1
        assert await world.is_warm(other)


async def test_fetches_after_a_kill_do_not_give_it_up(world: World) -> None:
    first = await world.killed(SETTLED_PAGE)
    async with world.replica() as other:
        before = len(world.upstream.requests)
        fetches = await asyncio.gather(*(other.value() for _ in range(20)))
        assert {use for _, use in fetches} == {"hit"}
        assert len(world.upstream.requests) - before == 1, "the upstream vouches once"
        went_on(await other.warm(PAGE), first, 70)


async def test_a_job_that_was_killed_too_soon_begins_anew(world: World) -> None:
    """The last write may have been in the same moment as another that nobody heard of."""
    await world.killed(SETTLED_PAGE - 4)
    async with world.replica() as other:
        began_anew(await other.warm(PAGE))


async def test_nothing_is_believed_after_a_write_that_nobody_heard_of(world: World) -> None:
    await world.killed(SETTLED_PAGE)
    world.write(1)
    async with world.replica() as other:
        assert await other.value() == (1, "miss")
        began_anew(await other.warm(PAGE))
        assert await world.is_warm(other)


async def test_nor_after_a_change_of_the_schema_that_nobody_heard_of(world: World) -> None:
    """An attribute was dropped and made anew: no document was written, and none has it."""
    await world.killed(SETTLED_PAGE)
    for row in world.upstream.rows:
        del row["n"]
    world.upstream.types["n"] = "int"
    world.upstream.schema_written_at = "2026-09-21T15:00:00Z"
    async with world.replica() as other:
        assert await other.value() == (None, "miss")
        began_anew(await other.warm(PAGE))


@pytest.mark.parametrize("notice", ["begin", "end", "both"])
async def test_a_write_that_was_heard_of_begins_anew(
    world: World, replica: Replica, notice: str
) -> None:
    await world.broken_off(replica, SETTLED_PAGE)
    if notice != "end":
        await replica.generations.begin_write(NS)
        refused = await replica.warm(PAGE)
        assert refused.status is JobStatus.FAILED
        assert refused.error is not None
        assert "a write is going on" in refused.error
    world.write(1)
    if notice == "begin":
        world.clock.advance(60)
    else:
        await replica.generations.end_write(NS)
    began_anew(await replica.warm(PAGE))
    assert await world.is_warm(replica)


async def test_a_write_while_a_job_goes_on_ends_it(world: World, replica: Replica) -> None:
    await world.broken_off(replica, 4)
    answered = world.upstream.answer
    notices: list[asyncio.Task[None]] = []

    def answer(query: Mapping[str, Any], rows: dict[str, Any]) -> dict[str, Any]:
        if world.pages == 8:
            notices.append(asyncio.create_task(replica.generations.end_write(NS)))
        return answered(query, rows)

    world.upstream.answer = answer
    failed = await replica.warm(PAGE)
    await asyncio.gather(*notices)
    assert failed.status is JobStatus.FAILED
    assert failed.error is not None
    assert "start again" in failed.error
    assert not await world.is_warm(replica)


async def test_a_write_past_the_gateway_ends_the_upstreams_word(world: World) -> None:
    """Pages then differ in the last write, so that nobody can say what it was for the first."""
    answered = world.upstream.answer

    def answer(query: Mapping[str, Any], rows: dict[str, Any]) -> dict[str, Any]:
        if world.pages == 2:
            world.write(1)
        return answered(query, rows)

    world.upstream.answer = answer
    await world.killed(SETTLED_PAGE + 5)
    async with world.replica() as other:
        began_anew(await other.warm(PAGE))


async def test_an_upstream_that_does_not_tell_of_writes(world: World, replica: Replica) -> None:
    """A process that heard of every write goes on; one that did not begins anew."""
    world.upstream.tells_of_writes = False
    first = await world.broken_off(replica, SETTLED_PAGE)
    job = await world.broken_off(replica, 3)
    assert job.documents_resumed == (SETTLED_PAGE - 1) * PAGE
    went_on(await replica.warm(PAGE), first, (SETTLED_PAGE + 1) * PAGE)
    await world.broken_off(replica, SETTLED_PAGE)
    async with world.replica() as other:
        began_anew(await other.warm(PAGE))


async def test_an_upstream_that_is_down_after_a_kill(world: World) -> None:
    first = await world.killed(SETTLED_PAGE)
    async with world.replica() as other:
        world.upstream.down = True
        failed = await other.warm(PAGE)
        assert failed.status is JobStatus.FAILED
        world.upstream.down = False
        went_on(await other.warm(PAGE), first, 70)


async def test_another_schema_begins_anew(world: World, replica: Replica) -> None:
    await world.broken_off(replica, 4)
    world.upstream.types["more"] = "string"
    began_anew(await replica.warm(PAGE))


async def test_too_little_time_begins_anew(world: World, replica: Replica) -> None:
    """170 documents at 10 a second, and the first expires after 300 s."""
    await world.broken_off(replica, 4)
    world.clock.advance(300 - 3 - 16.0)
    began_anew(await replica.warm(PAGE))
    assert await world.is_warm(replica)


async def test_enough_time_goes_on_and_warmth_ends_with_the_first_document(
    world: World, replica: Replica
) -> None:
    first = await world.broken_off(replica, 4)
    world.clock.advance(300 - 3 - 18.0)
    went_on(await replica.warm(PAGE), first, 30)
    assert await world.is_warm(replica)
    world.clock.advance(2.0)
    assert not await world.is_warm(replica)


async def test_a_cache_that_lost_the_first_documents_begins_anew(
    world: World, replica: Replica
) -> None:
    await world.broken_off(replica, 4)
    first = next(key for key in world.memory.values if key.startswith("document/"))
    await world.memory.delete([first])
    began_anew(await replica.warm(PAGE))


async def test_a_job_after_one_that_ended_begins_a_new_term(world: World, replica: Replica) -> None:
    began_anew(await replica.warm(PAGE))
    world.clock.advance(100)
    began_anew(await replica.warm(PAGE))
    world.clock.advance(250)
    assert await world.is_warm(replica), "300 s from the second job's begin"


async def test_a_namespace_stays_warm_while_it_is_warmed_again(
    world: World, replica: Replica
) -> None:
    await replica.warm(PAGE)
    world.clock.advance(5)
    first = await world.broken_off(replica, 4)
    assert await world.is_warm(replica)
    went_on(await replica.warm(PAGE), first, 30)


async def test_jobs_that_go_on_from_each_other_are_bounded(
    world: World, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm_namespace, "_PARTS", 3)
    for page in (3, 3, 3):
        job = await world.broken_off(replica, page)
    assert job.documents_resumed == 40
    began_anew(await replica.warm(PAGE))


async def test_a_warm_namespace_survives_a_restart(world: World) -> None:
    async with world.replica() as first:
        await first.warm(PAGE)
    async with world.replica() as second:
        assert await world.is_warm(second)
        world.write(1)
    async with world.replica() as third:
        assert not await world.is_warm(third)
        assert await third.value() == (1, "miss")


async def test_a_process_that_stood_still_asks_the_upstream(world: World, replica: Replica) -> None:
    """Of a write that it did not hear of, or of none."""
    await world.broken_off(replica, SETTLED_PAGE)
    world.clock.stand_still(3.0)
    assert (await replica.value())[1] == "hit"
    world.clock.stand_still(3.0)
    world.write(1)
    assert await replica.value() == (1, "miss")


async def test_a_write_that_could_not_be_stored_is_not_vouched_away(
    world: World, replica: Replica
) -> None:
    """The other replicas do not know of it."""
    await world.broken_off(replica, SETTLED_PAGE)
    world.link.down = True
    await replica.generations.end_write(NS)
    world.link.down = False
    assert (await replica.value())[1] == "miss"
    assert replica.generations.counts.vouched == 0


async def test_two_replicas_at_once_leave_each_others_lists_alone(world: World) -> None:
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(world.replica()) for _ in range(2)]
        # Both know the namespace, in one generation.
        await first.value()
        await second.value()
        jobs = [(first, await first.start_warm(NS, 7)), (second, await second.start_warm(NS, 30))]
        for replica, job in jobs:
            await replica.warm_jobs.idle()
            ended = replica.warm_jobs.get(NS, job.id)
            assert ended.status is JobStatus.COMPLETED, ended.error
        assert await world.is_warm(first)
        assert await world.is_warm(second)


async def test_two_replicas_that_go_on_from_one_job(world: World) -> None:
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(world.replica()) for _ in range(2)]
        await first.value()
        await second.value()
        broken = await world.broken_off(first, 6)
        jobs = [(first, await first.start_warm(NS, 7)), (second, await second.start_warm(NS, 30))]
        for replica, job in jobs:
            await replica.warm_jobs.idle()
            went_on(replica.warm_jobs.get(NS, job.id), broken, 50)
        assert await world.is_warm(first)
        assert await world.is_warm(second)
