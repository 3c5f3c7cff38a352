"""Draining: the watcher first, then jobs, none of them left running."""

from __future__ import annotations

import asyncio

import pytest

from services.core.errors import ErrorKind, LayerError
from services.core.job_book import JobStatus
from services.snapshot.drain import Drain
from services.snapshot.model import SnapshotRequest, Source
from tests.unit.snapshot.harness import NS, SnapshotHarness
from tests.unit.snapshot.replicas import GatedUpstream

REQUEST = SnapshotRequest(NS, "color", Source.ORIGIN, None, 100)


class Draining:
    """A job in the middle of its scan, and a drain that has begun."""

    def __init__(self) -> None:
        self.harness = SnapshotHarness([])
        self.upstream = GatedUpstream(NS, [{"id": 1, "color": "red"}])
        self.harness.upstream = self.upstream
        self.harness.restart()
        self.watcher_stopped = asyncio.Event()
        self.drain = Drain(self.stop_watching, [self.harness.runner], self.harness.clock)

    async def stop_watching(self) -> None:
        self.watcher_stopped.set()

    async def start_job(self) -> str:
        self.upstream.gate.clear()
        job = await self.harness.create(REQUEST)
        await self.upstream.scanning.wait()
        return job.id


async def test_a_running_job_may_end_and_new_ones_are_refused() -> None:
    draining = Draining()
    job_id = await draining.start_job()
    drain = asyncio.create_task(draining.drain(30.0))
    await draining.watcher_stopped.wait()
    with pytest.raises(LayerError) as refused:
        await draining.harness.create(REQUEST)
    assert refused.value.kind is ErrorKind.UNAVAILABLE
    assert draining.harness.jobs.get(NS, job_id).status is JobStatus.RUNNING
    draining.upstream.gate.set()
    await drain
    assert draining.harness.jobs.get(NS, job_id).status is JobStatus.COMPLETED
    assert await draining.harness.reader.newest(NS) is not None


async def test_a_job_that_takes_too_long_fails_with_a_sentence() -> None:
    draining = Draining()
    job_id = await draining.start_job()
    await draining.drain(0.01)
    job = draining.harness.jobs.get(NS, job_id)
    assert job.status is JobStatus.FAILED
    assert job.error is not None
    assert "start it again" in job.error
    assert draining.harness.clock.slept == [2.0]


async def test_without_jobs_a_drain_takes_no_time() -> None:
    draining = Draining()
    async with asyncio.timeout(1.0):
        await draining.drain(300.0)
    assert draining.watcher_stopped.is_set()
    assert draining.harness.clock.slept == []


async def test_idle_is_when_the_last_of_several_has_ended() -> None:
    draining = Draining()
    await draining.start_job()
    await draining.harness.create(REQUEST)
    idle = asyncio.create_task(draining.harness.jobs.idle())
    await asyncio.sleep(0)
    assert not idle.done()
    draining.upstream.gate.set()
    async with asyncio.timeout(5.0):
        await idle
    jobs = draining.harness.jobs.list(NS)
    assert [job.status for job in jobs] == [JobStatus.COMPLETED] * 2
