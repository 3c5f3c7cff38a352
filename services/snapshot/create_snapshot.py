"""`POST /snapshots`: starts a job and carries it out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from services.archive.read_snapshots import SnapshotReader
from services.archive.write_snapshot import SnapshotWriter
from services.core.clock import Clock
from services.core.errors import ErrorKind, LayerError
from services.core.ids import IdGenerator, Namespace
from services.filters.evaluate import unsupported
from services.filters.parse import parse_filter
from services.formats.snapshot_body import SnapshotBody
from services.snapshot.count_origin import OriginCount
from services.snapshot.count_request import CountRequest
from services.snapshot.job_book import JobBook
from services.snapshot.model import JobStatus, SnapshotJob, SnapshotRequest, Source
from services.snapshot.watermarks import Watermarks
from services.upstream.vector_store import NamespaceMetadata, is_vector

__all__ = ["CreateSnapshot"]

_logger = logging.getLogger(__name__)


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
        jobs: JobBook,
        reader: SnapshotReader,
        writer: SnapshotWriter,
        watermarks: Watermarks,
        origin: OriginCount,
        scan_threads: Callable[[Namespace], int],
        clock: Clock,
        new_id: IdGenerator,
    ) -> None:
        self._jobs = jobs
        self._reader = reader
        self._writer = writer
        self._watermarks = watermarks
        self._origin = origin
        self._scan_threads = scan_threads
        self._clock = clock
        self._new_id = new_id
        self._tasks: set[asyncio.Task[None]] = set()

    async def __call__(self, request: SnapshotRequest) -> SnapshotJob:
        """Start a job.

        Raises:
            LayerError: VALIDATION, filters with source `stored`; CACHE_COLD; TOO_MANY_REQUESTS.
        """
        if request.source is Source.STORED and request.filters is not None:
            raise LayerError.validation(
                "a stored body cannot be filtered; use source auto or origin with filters"
            )
        if request.source is Source.CACHE:
            _check_evaluable(request.filters)
            raise LayerError(
                ErrorKind.CACHE_COLD,
                f"the document cache of {request.namespace!r} is not warm; use source origin",
            )
        job = SnapshotJob(
            id=self._new_id(),
            namespace=request.namespace,
            field=request.field,
            source=request.source,
            created_at_ms=self._now_ms(),
        )
        self._jobs.add(job)
        task = asyncio.create_task(self._run(job, request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    async def close(self) -> None:
        """End what still runs; those jobs say that they failed."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, job: SnapshotJob, request: SnapshotRequest) -> None:
        try:
            outcome = await self._answer(job, request)
        except LayerError as error:
            self._fail(job, error.message)
        except asyncio.CancelledError:
            self._fail(job, "the service stopped before the job ended; start it again")
            raise
        except Exception:
            _logger.exception("snapshot job failed", extra={"job": job.id})
            self._fail(job, "internal error; the service's log has the details")
        else:
            self._jobs.update(
                self._current(job).completed(
                    self._now_ms(),
                    outcome.source,
                    outcome.body.sha,
                    outcome.body.watermark_ms,
                    outcome.documents_scanned,
                )
            )

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
        return await self._from_origin(job, request)

    async def _from_origin(self, job: SnapshotJob, request: SnapshotRequest) -> _Outcome:
        metadata, watermark_ms = await self._watermarks.fresh(request.namespace)
        _check_countable(metadata, request)

        def advance(documents: int, expected: int | None) -> None:
            known = metadata.approx_row_count if expected is None else expected
            self._jobs.update(self._current(job).advanced(documents, known))

        counts = await self._origin.count(
            CountRequest(
                request.namespace,
                (request.field,),
                metadata,
                request.filters,
                request.page_size,
                self._scan_threads(request.namespace),
            ),
            on_progress=advance,
        )
        body = counts.body(request.namespace, watermark_ms)
        if request.filters is None:
            await self._writer.write(body)
        else:
            await self._writer.write_filtered(body)
        return _Outcome(Source.ORIGIN, body, counts.row_count)

    def _fail(self, job: SnapshotJob, error: str) -> None:
        self._jobs.update(self._current(job).failed(self._now_ms(), error))

    def _current(self, job: SnapshotJob) -> SnapshotJob:
        current = self._jobs.get(job.namespace, job.id)
        assert current.status is JobStatus.RUNNING
        return current

    def _now_ms(self) -> int:
        return self._clock.now_ns() // 1_000_000


def _check_evaluable(filters: object | None) -> None:
    """Refuse filters that the document cache cannot evaluate.

    Raises:
        LayerError: VALIDATION.
    """
    path = None if filters is None else unsupported(parse_filter(filters))
    if path is not None:
        raise LayerError.validation(f"{path}: the cache cannot evaluate this; use source origin")


def _check_countable(metadata: NamespaceMetadata, request: SnapshotRequest) -> None:
    """Refuse what no histogram can be made of.

    Raises:
        LayerError: VALIDATION, no such attribute, or it is a vector.
    """
    declared = metadata.attribute_type(request.field)
    if request.field == "id":
        return
    if declared is None:
        raise LayerError.validation(
            f"namespace {request.namespace!r} has no attribute {request.field!r}"
        )
    if is_vector(declared):
        raise LayerError.validation(f"{request.field!r} is a vector; it has no facets")
