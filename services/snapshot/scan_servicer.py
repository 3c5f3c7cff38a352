"""ScanService's RPCs: parse, one call, build the reply."""

from __future__ import annotations

from typing import Final

import grpc
from layer.scan.v2 import scan_pb2 as pb
from layer.scan.v2 import scan_pb2_grpc

from services.core.errors import LayerError
from services.core.ids import parse_namespace
from services.core.job_book import JobBook, JobStatus
from services.edge.status import HTTP_STATUS_METADATA
from services.edge.values import timestamp
from services.snapshot.count_documents import CountDocuments
from services.snapshot.model import ScanJob, Source
from services.snapshot.parse_requests import (
    parse_field,
    parse_filters,
    parse_page_size,
    parse_source,
)
from services.snapshot.scan_values import ScanRequest, ScanValues

__all__ = ["ScanServicer"]

_DEFAULT_RESULTS: Final = 1000
_MAX_RESULTS: Final = 10_000
_MAX_THREADS: Final = 32
_SNAPSHOT: Final = "snapshot"
"""What the published client calls the source that the snapshot routes call `stored`."""

_Context = grpc.aio.ServicerContext[object, object]


class ScanServicer(scan_pb2_grpc.ScanServiceServicer):
    """The gRPC face of the scan use cases."""

    def __init__(
        self, scans: ScanValues, jobs: JobBook[ScanJob], count_documents: CountDocuments
    ) -> None:
        self._scans = scans
        self._jobs = jobs
        self._count_documents = count_documents

    async def CreateScan(self, request: pb.CreateScanRequest, context: _Context) -> pb.Scan:
        namespace = parse_namespace(request.namespace)
        mode = request.mode if request.HasField("mode") else "count"
        if mode not in ("values", "count"):
            raise LayerError.validation(f"mode must be values or count, not {mode!r}")
        source = _parse_source(request.source if request.HasField("source") else "auto")
        filters = parse_filters(request.filters)
        page_size = parse_page_size(request.page_size if request.HasField("page_size") else None)
        threads = request.threads if request.HasField("threads") else None
        if threads is not None and not 1 <= threads <= _MAX_THREADS:
            raise LayerError.validation(f"threads must be 1 to {_MAX_THREADS}")
        if mode == "count":
            counted = await self._count_documents(namespace, source, filters)
            return pb.Scan(
                count=counted.count,
                served_by=_source_name(counted.served_by),
                snapshot_sha=counted.snapshot_sha,
                watermark_ms=counted.watermark_ms,
                elapsed_ms=counted.elapsed_ms,
            )
        field = parse_field(request.field)
        job = await self._scans.create(
            ScanRequest(namespace, field, source, filters, page_size, threads)
        )
        await context.send_initial_metadata(((HTTP_STATUS_METADATA, "202"),))
        return _message(job)

    async def ListScans(
        self, request: pb.ListScansRequest, context: _Context
    ) -> pb.ListScansResponse:
        jobs = self._jobs.list(parse_namespace(request.namespace))
        return pb.ListScansResponse(scans=[_message(job) for job in jobs])

    async def GetScan(self, request: pb.GetScanRequest, context: _Context) -> pb.Scan:
        return _message(self._jobs.get(parse_namespace(request.namespace), request.scan_id))

    async def GetScanResults(
        self, request: pb.GetScanResultsRequest, context: _Context
    ) -> pb.ScanResults:
        job = self._jobs.get(parse_namespace(request.namespace), request.scan_id)
        limit = request.limit if request.HasField("limit") else _DEFAULT_RESULTS
        if limit < 1 or request.offset < 0:
            raise LayerError.validation("limit must be 1 or more, and offset 0 or more")
        page = self._scans.results(job, limit=min(limit, _MAX_RESULTS), offset=request.offset)
        results = pb.ScanResults(total=page.total, truncated=page.is_truncated)
        # Made in place: a list of messages is copied into its owner, at three times the cost.
        for value in page.values:
            results.values.add(v=value.v, n=value.n)
        return results

    async def DeleteScan(
        self, request: pb.DeleteScanRequest, context: _Context
    ) -> pb.DeleteScanResponse:
        job = self._jobs.get(parse_namespace(request.namespace), request.scan_id)
        self._scans.delete(job)
        return pb.DeleteScanResponse(status="ok")


def _parse_source(text: str) -> Source:
    return Source.STORED if text == _SNAPSHOT else parse_source(text)


def _source_name(source: Source) -> str:
    return _SNAPSHOT if source is Source.STORED else source.value


def _message(job: ScanJob) -> pb.Scan:
    message = pb.Scan(
        id=job.id,
        namespace=job.namespace,
        status=job.status,
        progress=job.progress,
        documents_scanned=job.documents_scanned,
        created_at=timestamp(job.created_at_ms),
        mode="values",
        field=job.field,
        source=_source_name(job.source),
        effective_source=_source_name(job.effective_source) if job.effective_source else None,
        unique_values=job.unique_values,
        truncated=job.is_truncated if job.status is JobStatus.COMPLETED else None,
        error=job.error,
        stable_as_of=job.stable_as_of_ms,
    )
    if job.completed_at_ms is not None:
        message.completed_at.CopyFrom(timestamp(job.completed_at_ms))
    return message
