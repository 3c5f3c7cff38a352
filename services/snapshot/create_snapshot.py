"""`POST /snapshots`: starts a job and carries it out."""

from __future__ import annotations

from dataclasses import dataclass, replace

from services.archive.read_snapshots import SnapshotReader
from services.archive.write_snapshot import SnapshotWriter
from services.core.clock import Clock
from services.core.errors import LayerError
from services.core.ids import IdGenerator
from services.core.job_book import JobBook
from services.core.job_runner import JobRunner
from services.formats.snapshot_body import SnapshotBody
from services.snapshot.count_facets import FacetCounts
from services.snapshot.count_for_job import CountForJob
from services.snapshot.count_warm import WarmCount
from services.snapshot.count_warm_for_job import WarmCountForJob, closed_if_refused
from services.snapshot.countable import check_source
from services.snapshot.model import SnapshotJob, SnapshotRequest, Source

__all__ = ["CreateSnapshot"]


@dataclass(frozen=True)
class _Outcome:
    """What a source answered."""

    source: Source
    body: SnapshotBody
    documents_scanned: int


class CreateSnapshot:
    """Answers with a running job at once; the work goes on in a task of this process."""

    def __init__(
        self,
        *,
        jobs: JobBook[SnapshotJob],
        runner: JobRunner[SnapshotJob],
        reader: SnapshotReader,
        writer: SnapshotWriter,
        count: CountForJob[SnapshotJob],
        count_warm: WarmCountForJob[SnapshotJob],
        clock: Clock,
        new_id: IdGenerator,
    ) -> None:
        self._jobs = jobs
        self._reader = reader
        self._writer = writer
        self._count = count
        self._count_warm = count_warm
        self._clock = clock
        self._new_id = new_id
        self._runner = runner

    async def __call__(self, request: SnapshotRequest) -> SnapshotJob:
        """Start a job.

        Raises:
            LayerError: VALIDATION, filters with source `stored`; CACHE_COLD; TOO_MANY_REQUESTS.
        """
        check_source(request.source, request.filters)
        warm = None
        if request.source is Source.CACHE:
            warm = await self._count_warm.prepare(request.namespace, request.field, request.filters)
        job = SnapshotJob(
            id=self._new_id(),
            namespace=request.namespace,
            field=request.field,
            source=request.source,
            created_at_ms=self._now_ms(),
        )
        with closed_if_refused(warm):
            self._runner.start(job, lambda: self._complete(job, request, warm))
        return job

    async def _complete(
        self, job: SnapshotJob, request: SnapshotRequest, warm: WarmCount | None
    ) -> SnapshotJob:
        if warm is not None:
            outcome = _from_cache(job, *await self._count_warm(job, warm))
        else:
            outcome = await self._answer(job, request)
        completed = self._jobs.get(job.namespace, job.id).completed(
            self._now_ms(), outcome.source, outcome.body.watermark_ms, outcome.documents_scanned
        )
        return replace(completed, sha=outcome.body.sha)

    async def _answer(self, job: SnapshotJob, request: SnapshotRequest) -> _Outcome:
        """The rules of the sources: api.md, Snapshots."""
        if request.source is not Source.ORIGIN and request.filters is None:
            wanted = frozenset([request.field])
            body = await self._reader.newest_body_with(request.namespace, wanted)
            if body is not None:
                return _Outcome(Source.STORED, body, body.row_count or 0)
            if request.source is Source.STORED:
                raise LayerError.not_found(
                    f"no stored snapshot of {request.namespace!r} holds the field "
                    f"{request.field!r}; use source origin"
                )
        if request.source is Source.AUTO:
            counted = await self._count_warm.if_warm(job, request.filters)
            if counted is not None:
                return _from_cache(job, *counted)
        return await self._from_origin(job, request)

    async def _from_origin(self, job: SnapshotJob, request: SnapshotRequest) -> _Outcome:
        counts, watermark_ms = await self._count(
            job, filters=request.filters, page_size=request.page_size
        )
        body = counts.body(request.namespace, watermark_ms)
        if request.filters is None:
            await self._writer.write(body)
        else:
            await self._writer.write_filtered(body)
        return _Outcome(Source.ORIGIN, body, counts.row_count)

    def _now_ms(self) -> int:
        return self._clock.now_ns() // 1_000_000


def _from_cache(job: SnapshotJob, counts: FacetCounts, watermark_ms: int) -> _Outcome:
    """Not persisted: only the origin is authoritative."""
    body = counts.body(job.namespace, watermark_ms)
    return _Outcome(Source.CACHE, body, counts.row_count)
