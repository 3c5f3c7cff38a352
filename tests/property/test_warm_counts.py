"""Counts, scans of values and counts of documents from the warm cache equal the origin's, for
random documents, filters and page sizes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.ids import Namespace
from services.core.job_book import JobStatus
from services.document.read_warm import ReadWarm
from services.formats.snapshot_body import SnapshotBody
from services.snapshot.count_request import CountRequest
from services.snapshot.count_warm import WarmCount, WarmScan
from services.snapshot.model import Source
from services.snapshot.scan_origin import OriginScan
from services.upstream.vector_store import decode_metadata
from tests.doubles.fake_clock import FakeClock
from tests.doubles.memory_cache import MemoryCache
from tests.doubles.table_store import TableVectorStore
from tests.unit.document.harness import running_replica
from tests.unit.snapshot.origin_rows import FIELDS, NS, filters, rows, table
from tests.unit.snapshot.scan_harness import Scans


class LocalWarmDocuments:
    """`ReadWarm` without a network between."""

    def __init__(self, read: ReadWarm) -> None:
        self._read = read

    async def open(self, namespace: Namespace) -> WarmScan:
        state = await self._read.state(namespace)
        return WarmScan(
            state.documents,
            state.stable_as_of_ms,
            state.types,
            self._read.pages(namespace, state),
            lambda: None,
        )


@asynccontextmanager
async def warm_documents(
    upstream: TableVectorStore, page_size: int
) -> AsyncIterator[LocalWarmDocuments]:
    """The upstream's documents, once a job has warmed them."""
    clock = FakeClock()
    async with running_replica(upstream, MemoryCache(clock), clock) as replica:
        job = await replica.warm(page_size)
        assert job.status is JobStatus.COMPLETED, job.error
        yield LocalWarmDocuments(replica.read_warm)


@dataclass(frozen=True)
class Answers:
    """What one source says in each of the ways in which it can be asked."""

    body: SnapshotBody
    values: list[tuple[str, int]]
    unique_values: int | None
    documents: tuple[int, int]


async def answers(
    upstream: TableVectorStore, source: Source, field: str, expression: Any, page_size: int
) -> Answers:
    async with warm_documents(upstream, page_size) as documents:
        scans = Scans(upstream, counted=100_000, documents=documents)
        if source is Source.CACHE:
            warm = await WarmCount.prepare(documents, NS, (field,), expression)
            counts = await warm.count()
        else:
            metadata = decode_metadata(await upstream.metadata(NS))
            request = CountRequest(NS, (field,), metadata, filters=expression)
            counts = await OriginScan(upstream).count(request)
        job = await scans.run(field, source, expression)
        assert (job.status, job.effective_source) == (JobStatus.COMPLETED, source), job.error
        counted = await scans.count(NS, source, expression)
        assert counted.served_by is source
        values = scans.values(job, limit=100_000)
        return Answers(
            counts.body(NS, 0), values, job.unique_values, (job.documents_scanned, counted.count)
        )


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
    warm, origin = (
        asyncio.run(answers(upstream, source, field, expression, page_size))
        for source in (Source.CACHE, Source.ORIGIN)
    )
    assert warm == origin
