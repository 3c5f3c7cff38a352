"""SnapshotService's RPCs: parse, one call, build the reply."""

from __future__ import annotations

from typing import Final

import grpc
from google.protobuf import timestamp_pb2
from layer.snapshot.v2 import snapshot_pb2 as pb
from layer.snapshot.v2 import snapshot_pb2_grpc

from services.core.durations import format_duration, parse_duration
from services.core.errors import LayerError
from services.core.ids import Namespace, parse_namespace
from services.edge.status import HTTP_STATUS_METADATA
from services.edge.values import from_value
from services.filters.parse import parse_filter
from services.indexes.policies import Policies
from services.indexes.policy import (
    SnapshotPolicy,
    check_facet_fields,
    check_field_name,
    parse_retention,
)
from services.snapshot.create_snapshot import CreateSnapshot
from services.snapshot.job_book import JobBook
from services.snapshot.model import SnapshotJob, SnapshotRequest, Source

__all__ = ["SnapshotServicer"]

_DEFAULT_PAGE_SIZE: Final = 1000
_MAX_PAGE_SIZE: Final = 10_000

_Context = grpc.aio.ServicerContext[object, object]


class SnapshotServicer(snapshot_pb2_grpc.SnapshotServiceServicer):
    """The gRPC face of the snapshot use cases."""

    def __init__(
        self, create: CreateSnapshot, jobs: JobBook, policies: Policies, *, min_interval_ms: int
    ) -> None:
        self._create = create
        self._jobs = jobs
        self._policies = policies
        self._min_interval_ms = min_interval_ms

    async def CreateSnapshot(
        self, request: pb.CreateSnapshotRequest, context: _Context
    ) -> pb.SnapshotJob:
        job = await self._create(_parse_create(request))
        await context.send_initial_metadata(((HTTP_STATUS_METADATA, "202"),))
        return _job_message(job)

    async def ListSnapshotJobs(
        self, request: pb.ListSnapshotJobsRequest, context: _Context
    ) -> pb.ListSnapshotJobsResponse:
        jobs = self._jobs.list(parse_namespace(request.namespace))
        return pb.ListSnapshotJobsResponse(snapshot_jobs=[_job_message(job) for job in jobs])

    async def GetSnapshotJob(
        self, request: pb.GetSnapshotJobRequest, context: _Context
    ) -> pb.SnapshotJob:
        return _job_message(self._jobs.get(parse_namespace(request.namespace), request.job_id))

    async def GetSnapshotPolicy(
        self, request: pb.GetSnapshotPolicyRequest, context: _Context
    ) -> pb.SnapshotPolicy:
        namespace = parse_namespace(request.namespace)
        policy = await self._policies.get(namespace)
        if policy is None:
            raise LayerError.not_found(f"no policy names the namespace {namespace!r}")
        return self._policy_message(policy)

    async def PutSnapshotPolicy(
        self, request: pb.PutSnapshotPolicyRequest, context: _Context
    ) -> pb.SnapshotPolicy:
        namespace = parse_namespace(request.namespace)
        policy = _parse_policy(namespace, request)
        await self._policies.put(policy)
        return self._policy_message(policy)

    def _policy_message(self, policy: SnapshotPolicy) -> pb.SnapshotPolicy:
        interval_ms = self._min_interval_ms if policy.interval_ms is None else policy.interval_ms
        return pb.SnapshotPolicy(
            facetFields=policy.facet_fields,
            interval=format_duration(interval_ms),
            retention=policy.retention,
        )


def _parse_create(request: pb.CreateSnapshotRequest) -> SnapshotRequest:
    namespace = parse_namespace(request.namespace)
    try:
        field = check_field_name(request.field)
    except ValueError as error:
        raise LayerError.validation(f"field: {error}") from error
    text = request.source if request.HasField("source") else Source.AUTO.value
    try:
        source = Source(text)
    except ValueError:
        names = ", ".join(source.value for source in Source)
        raise LayerError.validation(f"source must be one of {names}, not {text!r}") from None
    page_size = request.page_size if request.HasField("page_size") else _DEFAULT_PAGE_SIZE
    if not 1 <= page_size <= _MAX_PAGE_SIZE:
        raise LayerError.validation(f"page_size must be 1 to {_MAX_PAGE_SIZE}")
    filters = from_value(request.filters, "filters")
    if filters is not None:
        # Read for its faults only: the upstream is sent what the caller wrote.
        parse_filter(filters)
    return SnapshotRequest(namespace, field, source, filters, page_size)


def _parse_policy(namespace: Namespace, request: pb.PutSnapshotPolicyRequest) -> SnapshotPolicy:
    try:
        return SnapshotPolicy(
            namespace=namespace,
            facet_fields=check_facet_fields(request.facetFields),
            interval_ms=parse_duration(request.interval) if request.HasField("interval") else None,
            retention_ms=parse_retention(request.retention)
            if request.HasField("retention")
            else None,
        )
    except ValueError as error:
        raise LayerError.validation(str(error)) from error


def _job_message(job: SnapshotJob) -> pb.SnapshotJob:
    message = pb.SnapshotJob(
        id=job.id,
        namespace=job.namespace,
        field=job.field,
        source=job.source,
        status=job.status,
        progress=job.progress,
        documents_scanned=job.documents_scanned,
        created_at=_timestamp(job.created_at_ms),
        effective_source=job.effective_source,
        sha=job.sha,
        stable_as_of=job.stable_as_of_ms,
        error=job.error,
    )
    if job.completed_at_ms is not None:
        message.completed_at.CopyFrom(_timestamp(job.completed_at_ms))
    return message


def _timestamp(epoch_ms: int) -> timestamp_pb2.Timestamp:
    timestamp = timestamp_pb2.Timestamp()
    timestamp.FromMilliseconds(epoch_ms)
    return timestamp
