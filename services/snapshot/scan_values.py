"""`POST /scans` with mode `values`: every value of a field, however many, with its count."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from services.archive.read_snapshots import SnapshotReader
from services.core.clock import Clock
from services.core.errors import LayerError
from services.core.ids import IdGenerator, Namespace
from services.core.job_book import JobBook, JobStatus
from services.core.job_runner import JobRunner
from services.formats.snapshot_body import ValueCount
from services.snapshot.count_facets import FacetCounter, FacetCounts, too_many_values
from services.snapshot.count_for_job import CountForJob
from services.snapshot.count_warm import WarmCount
from services.snapshot.count_warm_for_job import WarmCountForJob, closed_if_refused
from services.snapshot.countable import check_source
from services.snapshot.model import ScanJob, Source

__all__ = [
    "COUNTED_VALUES",
    "KEPT_VALUES",
    "ScanRequest",
    "ScanValues",
    "ValuesPage",
    "values_counter",
]

KEPT_VALUES: Final = 1_000_000
"""Values of one job; of more, those with the largest counts are kept."""

COUNTED_VALUES: Final = 2 * KEPT_VALUES
"""Values that are counted at all: which are the largest is only known when all are. With more
the job fails; about 300 MB are held while it runs."""

RESULTS_KEPT: Final = 4 * KEPT_VALUES
"""Values of all remembered jobs together; past it the oldest jobs are forgotten."""


@dataclass(frozen=True)
class ScanRequest:
    """A checked request. `threads` of None are the policy's."""

    namespace: Namespace
    field: str
    source: Source
    filters: object | None
    page_size: int
    threads: int | None


@dataclass(frozen=True)
class ValuesPage:
    """A page of a completed job's values."""

    values: Sequence[ValueCount]
    total: int
    is_truncated: bool


@dataclass(frozen=True)
class _Counted:
    source: Source
    counts: Mapping[str, int]
    documents: int
    watermark_ms: int


class ScanValues:
    """Starts scans and keeps their values, in memory and bounded."""

    def __init__(
        self,
        *,
        jobs: JobBook[ScanJob],
        runner: JobRunner[ScanJob],
        reader: SnapshotReader,
        count: CountForJob[ScanJob],
        count_warm: WarmCountForJob[ScanJob],
        clock: Clock,
        new_id: IdGenerator,
    ) -> None:
        """Both counts count up to `COUNTED_VALUES` values of a field."""
        self._jobs = jobs
        self._runner = runner
        self._reader = reader
        self._count = count
        self._count_warm = count_warm
        self._clock = clock
        self._new_id = new_id

    async def create(self, request: ScanRequest) -> ScanJob:
        """Start a job.

        Raises:
            LayerError: VALIDATION, filters that the source cannot apply, or for source `cache` a
                field that it does not have; CACHE_COLD; TOO_MANY_REQUESTS.
        """
        check_source(request.source, request.filters)
        warm = None
        if request.source is Source.CACHE:
            warm = await self._count_warm.prepare(request.namespace, request.field, request.filters)
        job = ScanJob(
            self._new_id(), request.namespace, request.field, request.source, self._now_ms()
        )
        with closed_if_refused(warm):
            self._runner.start(job, lambda: self._complete(job, request, warm))
        return job

    def results(self, job: ScanJob, *, limit: int, offset: int) -> ValuesPage:
        """A page of values.

        Raises:
            LayerError: VALIDATION, the job has none: it runs or it failed.
        """
        if job.status is not JobStatus.COMPLETED:
            raise LayerError.validation(f"scan {job.id!r} is {job.status}; it has no results")
        page = job.values[offset : offset + limit]
        return ValuesPage(page, len(job.values), job.is_truncated)

    def delete(self, job: ScanJob) -> None:
        """Forget an ended job.

        Raises:
            LayerError: VALIDATION, it still runs.
        """
        if job.is_running:
            raise LayerError.validation(f"scan {job.id!r} still runs")
        self._jobs.forget(job)

    async def _complete(
        self, job: ScanJob, request: ScanRequest, warm: WarmCount | None
    ) -> ScanJob:
        counted = await self._counted(job, request, warm)
        # Off the loop: a million values take seconds.
        kept = await asyncio.to_thread(_most_frequent, counted.counts)
        self._make_room(len(kept))
        completed = self._jobs.get(job.namespace, job.id).completed(
            self._now_ms(), counted.source, counted.watermark_ms, counted.documents
        )
        return replace(completed, unique_values=len(counted.counts), values=kept)

    async def _counted(
        self, job: ScanJob, request: ScanRequest, warm: WarmCount | None
    ) -> _Counted:
        """The rules of the sources: api.md, Snapshots."""
        if warm is not None:
            return _of(Source.CACHE, request.field, *await self._count_warm(job, warm))
        stored = await self._stored(request)
        if stored is not None:
            return stored
        if request.source is Source.AUTO:
            counted = await self._count_warm.if_warm(job, request.filters)
            if counted is not None:
                return _of(Source.CACHE, request.field, *counted)
        counts, watermark_ms = await self._count(
            job, filters=request.filters, page_size=request.page_size, threads=request.threads
        )
        return _of(Source.ORIGIN, request.field, counts, watermark_ms)

    async def _stored(self, request: ScanRequest) -> _Counted | None:
        """The newest body's histogram of the field, if it is complete and may answer."""
        if request.source is Source.ORIGIN or request.filters is not None:
            return None
        body = await self._reader.newest_body_with(request.namespace, frozenset([request.field]))
        found = [f for f in body.fields if f.name == request.field] if body else []
        if body is not None and found:
            counts = {value.v: value.n for value in found[0].values}
            return _Counted(Source.STORED, counts, body.row_count or 0, body.watermark_ms)
        if request.source is Source.STORED:
            raise LayerError.not_found(
                f"no stored snapshot of {request.namespace!r} has all values of "
                f"{request.field!r}; use source origin"
            )
        return None

    def _make_room(self, values: int) -> None:
        """Forget the oldest results until the new ones fit the budget."""
        for job in self._jobs.ended():
            held = sum(len(old.values) for old in self._jobs.ended())
            if held + values <= RESULTS_KEPT:
                return
            self._jobs.forget(job)

    def _now_ms(self) -> int:
        return self._clock.now_ns() // 1_000_000


def values_counter(field: str) -> FacetCounter:
    """A counter of all values of a field, up to `COUNTED_VALUES`."""
    return FacetCounter([field], cap=COUNTED_VALUES, refuse_over_cap=True)


def _of(source: Source, field: str, counts: FacetCounts, watermark_ms: int) -> _Counted:
    """What a source counted.

    Raises:
        LayerError: VALIDATION, there are more values than are counted.
    """
    if field in counts.distinct_over_cap:
        raise too_many_values(field, COUNTED_VALUES)
    return _Counted(source, counts.counts[field], counts.row_count, watermark_ms)


def _most_frequent(counts: Mapping[str, int]) -> Sequence[ValueCount]:
    """The values that are kept, in the order of results."""
    pairs = heapq.nsmallest(KEPT_VALUES, counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(ValueCount(v, n) for v, n in pairs)
