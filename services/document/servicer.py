"""DocumentService's RPCs: parse, one call, build the reply."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final, TypeVar

import grpc
from google.api import httpbody_pb2
from layer.document.v2 import document_pb2 as pb
from layer.document.v2 import document_pb2_grpc

from services.core.clock import Clock
from services.core.errors import ErrorKind, LayerError
from services.core.ids import Namespace, parse_namespace
from services.core.job_book import JobBook
from services.document.fetch_documents import FetchDocuments
from services.document.generations import Generations
from services.document.model import Document, Fetch, FetchedDocuments
from services.document.read_metadata import ReadMetadata
from services.document.read_warm import ReadWarm
from services.document.record_fetches import FetchRecorder
from services.document.warm_job import WarmJob
from services.document.warm_namespace import WarmNamespace
from services.edge.server import MAX_MESSAGE_BYTES
from services.edge.status import HTTP_STATUS_METADATA
from services.edge.trace_context import caller_trace_id
from services.edge.values import timestamp, to_struct
from services.formats.tags import parse_tags_leniently
from services.upstream.vector_store import ApiVersion

__all__ = ["DocumentServicer"]

_CACHE_METADATA: Final = "x-layer-cache"
"""Initial metadata of fetches: a `CacheUse`."""

_UNCERTAIN_METADATA: Final = "x-layer-cache-uncertain"
"""Set by the gateway while it owes this service the notice of a write to the namespace."""

_PATH_METADATA: Final = "x-envoy-original-path"
"""Set by the gateway's transcoder."""

_Context = grpc.aio.ServicerContext[object, object]
_Answer = TypeVar("_Answer", pb.Document, pb.BatchGetDocumentsResponse)
_DEFAULT_PAGE: Final = 1000
_MAX_PAGE: Final = 10_000


class DocumentServicer(document_pb2_grpc.DocumentServiceServicer):
    """The gRPC face of the document use cases."""

    def __init__(
        self,
        fetch: FetchDocuments,
        generations: Generations,
        warm: WarmNamespace,
        warm_jobs: JobBook[WarmJob],
        read_warm: ReadWarm,
        read_metadata: ReadMetadata,
        recorder: FetchRecorder,
        clock: Clock,
    ) -> None:
        self._fetch = fetch
        self._generations = generations
        self._warm = warm
        self._warm_jobs = warm_jobs
        self._read_warm = read_warm
        self._read_metadata = read_metadata
        self._recorder = recorder
        self._clock = clock

    async def GetDocument(self, request: pb.GetDocumentRequest, context: _Context) -> pb.Document:
        namespace = parse_namespace(request.namespace)
        if not request.doc_id:
            raise LayerError.validation("a document id is required")
        fetched = await self._fetch(
            namespace,
            [request.doc_id],
            _attributes(request.include_attributes),
            use_cache=_may_use_cache(context),
        )
        if not fetched.documents:
            raise LayerError.not_found(
                f"namespace {namespace!r} has no document {request.doc_id!r}"
            )
        answer = _sendable(_message(fetched.documents[0]))
        self._record(namespace, fetched, context)
        await context.send_initial_metadata(((_CACHE_METADATA, fetched.cache_use),))
        return answer

    async def BatchGetDocuments(
        self, request: pb.BatchGetDocumentsRequest, context: _Context
    ) -> pb.BatchGetDocumentsResponse:
        namespace = parse_namespace(request.namespace)
        fetched = await self._fetch(
            namespace,
            request.ids,
            _attributes(request.include_attributes),
            use_cache=_may_use_cache(context),
        )
        answer = pb.BatchGetDocumentsResponse(
            documents=[_message(document) for document in fetched.documents],
            missing=fetched.missing,
        )
        _sendable(answer)
        self._record(namespace, fetched, context)
        await context.send_initial_metadata(((_CACHE_METADATA, fetched.cache_use),))
        return answer

    async def GetNamespaceMetadata(
        self, request: pb.GetNamespaceMetadataRequest, context: _Context
    ) -> httpbody_pb2.HttpBody:
        data = await self._read_metadata(parse_namespace(request.namespace), _version(context))
        return httpbody_pb2.HttpBody(content_type="application/json", data=data)

    async def ReadWarmDocuments(
        self, request: pb.ReadWarmDocumentsRequest, context: _Context
    ) -> AsyncIterator[pb.ReadWarmDocumentsResponse]:
        namespace = parse_namespace(request.namespace)
        state = await self._read_warm.state(namespace)
        summary = pb.WarmSummary(
            documents=state.documents, stable_as_of=state.stable_as_of_ms, types=state.types
        )
        yield pb.ReadWarmDocumentsResponse(summary=summary)
        async for rows in self._read_warm.pages(namespace, state):
            yield pb.ReadWarmDocumentsResponse(rows=rows)

    async def BeginWrite(
        self, request: pb.BeginWriteRequest, context: _Context
    ) -> pb.BeginWriteResponse:
        await self._generations.begin_write(parse_namespace(request.namespace))
        return pb.BeginWriteResponse()

    async def EndWrite(self, request: pb.EndWriteRequest, context: _Context) -> pb.EndWriteResponse:
        await self._generations.end_write(parse_namespace(request.namespace))
        return pb.EndWriteResponse()

    async def CreateWarmJob(
        self, request: pb.CreateWarmJobRequest, context: _Context
    ) -> pb.WarmJob:
        page_size = request.page_size if request.HasField("page_size") else _DEFAULT_PAGE
        if not 1 <= page_size <= _MAX_PAGE:
            raise LayerError.validation(f"page_size must be 1 to {_MAX_PAGE}")
        job = await self._warm(parse_namespace(request.namespace), page_size)
        await context.send_initial_metadata(((HTTP_STATUS_METADATA, "202"),))
        return _job_message(job)

    async def ListWarmJobs(
        self, request: pb.ListWarmJobsRequest, context: _Context
    ) -> pb.ListWarmJobsResponse:
        jobs = self._warm_jobs.list(parse_namespace(request.namespace))
        return pb.ListWarmJobsResponse(warm_jobs=[_job_message(job) for job in jobs])

    async def GetWarmJob(self, request: pb.GetWarmJobRequest, context: _Context) -> pb.WarmJob:
        return _job_message(self._warm_jobs.get(parse_namespace(request.namespace), request.job_id))

    def _record(self, namespace: Namespace, fetched: FetchedDocuments, context: _Context) -> None:
        """Clickstream: only a fetch that carries its caller's trace came of a search."""
        metadata = context.invocation_metadata() or ()
        trace_id = caller_trace_id(metadata)
        if trace_id is None:
            return
        tags, _refused = parse_tags_leniently(
            [
                str(value)
                for name, value in metadata
                if name in ("x-hevlayer-tags", "x-hevlayer-tag")
            ]
        )
        now_ns = self._clock.now_ns()
        self._recorder.record(
            [
                Fetch(
                    namespace,
                    trace_id,
                    document.id,
                    tags,
                    "cache" if document.id in fetched.cached_ids else "upstream",
                    now_ns,
                )
                for document in fetched.documents
            ]
        )


def _may_use_cache(context: _Context) -> bool:
    return all(name != _UNCERTAIN_METADATA for name, _ in context.invocation_metadata() or ())


def _version(context: _Context) -> ApiVersion:
    """Of the path that an HTTP client called; gRPC clients have none."""
    metadata = dict(context.invocation_metadata() or ())
    return "v1" if str(metadata.get(_PATH_METADATA, "")).startswith("/v1/") else "v2"


def _attributes(elements: Sequence[str]) -> list[str] | None:
    """Attribute names; a query parameter may hold several, comma-separated."""
    names = [name for element in elements for name in element.split(",") if name]
    return names or None


def _sendable(answer: _Answer) -> _Answer:
    """The answer itself. gRPC would refuse it only after its metadata has left, and a failure
    can then be given no body any more.

    Raises:
        LayerError: PAYLOAD_TOO_LARGE.
    """
    if answer.ByteSize() > MAX_MESSAGE_BYTES:
        raise LayerError(
            ErrorKind.PAYLOAD_TOO_LARGE,
            f"the documents are larger than {MAX_MESSAGE_BYTES >> 20} MiB: ask for fewer of them "
            "or for some of their attributes",
        )
    return answer


def _message(document: Document) -> pb.Document:
    return pb.Document(id=document.id, attributes=to_struct(document.attributes))


def _job_message(job: WarmJob) -> pb.WarmJob:
    message = pb.WarmJob(
        id=job.id,
        namespace=job.namespace,
        status=job.status,
        progress=job.progress,
        documents_scanned=job.documents_scanned,
        documents_resumed=job.documents_resumed,
        created_at=timestamp(job.created_at_ms),
        stable_as_of=job.stable_as_of_ms,
        error=job.error,
    )
    if job.completed_at_ms is not None:
        message.completed_at.CopyFrom(timestamp(job.completed_at_ms))
    return message
