"""The snapshot service's parts over memory stores and a clock that the test moves."""

from __future__ import annotations

import asyncio
from typing import Any

from services.archive.read_snapshots import SnapshotReader
from services.archive.write_snapshot import SnapshotWriter
from services.cache.no_cache import NoCache
from services.core.ids import Namespace
from services.core.job_book import JobBook, JobStatus
from services.core.job_runner import JobRunner
from services.indexes.policy import SnapshotPolicy
from services.snapshot.aggregate_origin import OriginAggregation
from services.snapshot.count_for_job import CountForJob
from services.snapshot.count_origin import OriginCount, OriginStrategy
from services.snapshot.count_warm_for_job import WarmCountForJob
from services.snapshot.create_snapshot import CreateSnapshot
from services.snapshot.leases import Leases, LeaseTerms
from services.snapshot.model import SnapshotJob, SnapshotRequest, Source
from services.snapshot.retention import Retention
from services.snapshot.scan_origin import OriginScan
from services.snapshot.watermarks import Watermarks
from services.snapshot.write_automatically import AutomaticWriter
from services.storage.counting import CountingObjectStore
from tests.doubles.fake_clock import FakeClock
from tests.doubles.memory_object_store import MemoryObjectStore
from tests.doubles.table_store import TableVectorStore
from tests.doubles.warm_documents import StoredWarmDocuments

NS = Namespace("products")


class NeverWakingClock:
    """Another clock's time; who sleeps waits for his end. `FakeClock` wakes at once, which a loop
    in the background would run away with."""

    def __init__(self, clock: FakeClock) -> None:
        self.now_ns = clock.now_ns
        self.monotonic = clock.monotonic

    async def sleep(self, seconds: float) -> None:
        await asyncio.Event().wait()


class SnapshotHarness:
    """Everything that `wiring` makes, within reach of a test; over rows, or an upstream that has
    them."""

    def __init__(
        self,
        rows: list[dict[str, Any]] | TableVectorStore,
        strategy: OriginStrategy = OriginStrategy.AUTO,
    ) -> None:
        self.strategy = strategy
        self.clock = FakeClock()
        self.upstream = rows if isinstance(rows, TableVectorStore) else TableVectorStore(NS, rows)
        self.store = CountingObjectStore(MemoryObjectStore())
        self.reader = SnapshotReader(self.store, NoCache())
        self.writer = SnapshotWriter(self.store, NoCache())
        self.jobs = JobBook[SnapshotJob]("snapshot job")
        self.documents = StoredWarmDocuments()
        self._ids = iter(range(1_000_000))
        self.restart()

    def restart(self) -> None:
        """Forget what a process keeps in memory."""
        self.watermarks = Watermarks(self.upstream, self.clock, margin_ms=500, wait_seconds=30)
        origin = OriginCount(
            OriginAggregation(self.upstream), OriginScan(self.upstream), self.strategy
        )
        self.retention = Retention(self.store, self.clock)
        self.automatic = AutomaticWriter(
            watermarks=self.watermarks,
            origin=origin,
            reader=self.reader,
            writer=self.writer,
            leases=Leases(
                self.store,
                NeverWakingClock(self.clock),
                replica="test",
                new_id=lambda: f"lease-{next(self._ids)}",
                terms=LeaseTerms(),
            ),
            retention=self.retention,
            clock=self.clock,
            min_interval_ms=0,
        )
        self.runner = JobRunner(self.jobs, self.clock)
        self.create = CreateSnapshot(
            jobs=self.jobs,
            runner=self.runner,
            reader=self.reader,
            writer=self.writer,
            count=CountForJob(self.jobs, self.watermarks, origin, lambda _namespace: 4),
            count_warm=WarmCountForJob(self.jobs, self.documents),
            clock=self.clock,
            new_id=lambda: f"job-{next(self._ids)}",
        )

    @property
    def now_ms(self) -> int:
        return self.clock.now_ns() // 1_000_000

    async def run_job(
        self,
        field: str,
        source: Source = Source.AUTO,
        filters: object | None = None,
        page_size: int = 1000,
    ) -> SnapshotJob:
        """Start a job and wait until it has ended."""
        request = SnapshotRequest(NS, field, source, filters, page_size)
        job = await self.create(request)
        while (job := self.jobs.get(NS, job.id)).status is JobStatus.RUNNING:
            await self.clock_tick()
        return job

    async def clock_tick(self) -> None:
        """Let other tasks run."""
        await asyncio.sleep(0.001)


def policy(*fields: str, interval_ms: int = 0, retention_ms: int | None = None) -> SnapshotPolicy:
    return SnapshotPolicy(NS, fields, interval_ms, retention_ms)
