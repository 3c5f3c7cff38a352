"""A count from the warm cache equals the origin's, for random documents, filters and page sizes."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.ids import Namespace
from services.core.job_book import JobBook, JobStatus
from services.core.job_runner import JobRunner
from services.document.read_warm import ReadWarm
from services.document.schemas import Schemas
from services.document.warm_job import WarmJob
from services.document.warm_namespace import WarmNamespace
from services.formats.snapshot_body import SnapshotBody
from services.snapshot.count_warm import WarmCount, WarmScan
from services.snapshot.scan_origin import OriginScan
from tests.doubles.fake_clock import FakeClock
from tests.doubles.memory_cache import MemoryCache
from tests.doubles.table_store import TableVectorStore
from tests.unit.document.harness import running_replica
from tests.unit.snapshot.origin_rows import FIELDS, NS, filters, request_of, rows, table


class LocalWarmDocuments:
    """`ReadWarm` without a network between."""

    def __init__(self, read: ReadWarm) -> None:
        self._read = read

    async def open(self, namespace: Namespace) -> WarmScan:
        record = await self._read.record(namespace)
        return WarmScan(
            record.documents,
            record.stable_as_of_ms,
            record.types,
            self._read.pages(namespace, record),
            lambda: None,
        )


async def warm_counts(
    upstream: TableVectorStore, field: str, expression: Any, page_size: int
) -> SnapshotBody:
    clock = FakeClock()
    cache = MemoryCache(clock)
    jobs = JobBook[WarmJob]("warm job")
    async with running_replica(upstream, cache, clock) as replica:
        start = WarmNamespace(
            upstream=upstream,
            schemas=Schemas(upstream, clock, ttl_seconds=60),
            generations=replica.generations,
            cache=cache,
            jobs=jobs,
            runner=JobRunner(jobs, clock),
            clock=clock,
            new_id=lambda: "job",
            ttl_seconds=300,
            documents_per_second=1e9,
            margin_ms=500,
        )
        await start(NS, page_size)
        await jobs.idle()
        job = jobs.get(NS, "job")
        assert job.status is JobStatus.COMPLETED, job.error
        documents = LocalWarmDocuments(ReadWarm(cache, replica.generations))
        counted = await (await WarmCount.prepare(documents, NS, field, expression)).count()
    return counted.body(NS, 0)


@settings(max_examples=150, deadline=None)
@given(
    documents=rows(),
    field=st.sampled_from([*FIELDS, "id"]),
    expression=filters,
    page_size=st.integers(1, 50),
)
def test_the_cache_counts_what_the_origin_counts(
    documents: list[dict[str, Any]], field: str, expression: Any, page_size: int
) -> None:
    upstream = table(documents)
    origin = asyncio.run(
        OriginScan(upstream).count(request_of(upstream, field, filters=expression))
    )
    warm = asyncio.run(warm_counts(upstream, field, expression, page_size))
    assert warm == origin.body(NS, 0)
