"""`POST /scans` with mode `values`: every value of a field, however many, with its count."""

from __future__ import annotations

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
from services.snapshot.count_for_job import CountForJob
from services.snapshot.countable import check_source, refuse_cache
from services.snapshot.model import ScanJob, Source

__all__ = ["COUNTED_VALUES", "KEPT_VALUES", "ScanRequest", "ScanValues", "ValuesPage"]

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
        clock: Clock,
        new_id: IdGenerator,
    ) -> None:
        """`count` counts up to `COUNTED_VALUES` values of a field."""
        self._jobs = jobs
        self._runner = runner
        self._reader = reader
        self._count = count
        self._clock = clock
        self._new_id = new_id

    async def create(self, request: ScanRequest) -> ScanJob:
        """Start a job.

        Raises:
            LayerError: VALIDATION, filters with source `stored`; CACHE_COLD; TOO_MANY_REQUESTS.
        """
        check_source(request.source, request.filters)
        refuse_cache(request.source)
        job = ScanJob(
            self._new_id(), request.namespace, request.field, request.source, self._now_ms()
        )
        self._runner.start(job, lambda: self._complete(job, request))
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

    async def _complete(self, job: ScanJob, request: ScanRequest) -> ScanJob:
        counted = await self._stored(request) or await self._from_origin(job, request)
        kept = heapq.nsmallest(
            KEPT_VALUES, counted.counts.items(), key=lambda pair: (-pair[1], pair[0])
        )
        self._make_room(len(kept))
        completed = self._jobs.get(job.namespace, job.id).completed(
            self._now_ms(), counted.source, counted.watermark_ms, counted.documents
        )
        values = tuple(ValueCount(v, n) for v, n in kept)
        return replace(completed, unique_values=len(counted.counts), values=values)

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

    async def _from_origin(self, job: ScanJob, request: ScanRequest) -> _Counted:
        counts, watermark_ms = await self._count(
            job, filters=request.filters, page_size=request.page_size, threads=request.threads
        )
        if request.field in counts.distinct_over_cap:
            raise LayerError.validation(
                f"{request.field!r} has more than {COUNTED_VALUES:,} values; "
                "narrow the scan with filters"
            )
        return _Counted(Source.ORIGIN, counts.counts[request.field], counts.row_count, watermark_ms)

    def _make_room(self, values: int) -> None:
        """Forget the oldest results until the new ones fit the budget."""
        for job in self._jobs.ended():
            held = sum(len(old.values) for old in self._jobs.ended())
            if held + values <= RESULTS_KEPT:
                return
            self._jobs.forget(job)

    def _now_ms(self) -> int:
        return self._clock.now_ns() // 1_000_000
