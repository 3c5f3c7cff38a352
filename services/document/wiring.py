"""Where DocumentService's parts are put together."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import grpc
from layer.document.v2 import document_pb2, document_pb2_grpc

from services.archive.read_snapshots import SnapshotReader
from services.core.clock import SystemClock
from services.core.ids import Namespace, random_id
from services.core.job_book import JobBook
from services.core.job_runner import JobRunner
from services.core.single_flight import SingleFlight
from services.core.tasks import running
from services.document.cached_documents import CachedDocuments
from services.document.fetch_documents import FetchDocuments
from services.document.generations import Generations
from services.document.last_write import UpstreamWitness
from services.document.read_metadata import ReadMetadata
from services.document.read_warm import ReadWarm
from services.document.record_fetches import FetchRecorder
from services.document.schemas import Schemas
from services.document.searchlog_client import SearchLogClient
from services.document.servicer import DocumentServicer
from services.document.settings import DocumentSettings
from services.document.warm_job import WarmJob
from services.document.warm_limits import WarmLimits
from services.document.warm_namespace import WarmNamespace
from services.document.warm_run import WarmTools
from services.edge.server import Service
from services.edge.settings import parse_keys
from services.telemetry.counts import observe_counts
from services.telemetry.providers import Telemetry
from services.wiring.stores import open_guarded_cache, open_object_store, open_upstream

__all__ = ["build"]

_FLUSH_SECONDS: Final = 5.0


@asynccontextmanager
async def build(settings: DocumentSettings, telemetry: Telemetry) -> AsyncIterator[Service]:
    """The service; what it holds closes with the context, fetches are sent last of all."""
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        meter = telemetry.meter
        store = await stack.enter_async_context(open_object_store(settings, clock, meter))
        cache = await stack.enter_async_context(open_guarded_cache(settings, clock, meter))
        upstream = await stack.enter_async_context(open_upstream())
        channel = await stack.enter_async_context(
            grpc.aio.insecure_channel(
                settings.searchlog_address, interceptors=telemetry.client_interceptors
            )
        )
        keys = parse_keys(settings.gateway_api_key)
        recorder = FetchRecorder(SearchLogClient(channel, keys[0] if keys else None).send, clock)
        stack.push_async_callback(recorder.flush, _FLUSH_SECONDS)
        await stack.enter_async_context(running(recorder.run()))

        generations = Generations(
            cache,
            clock,
            random_id,
            vouch=UpstreamWitness(upstream, cache),
            write_seconds=settings.document_write_seconds,
        )
        cached = CachedDocuments(cache, clock, ttl_seconds=settings.document_ttl_seconds)
        await stack.enter_async_context(
            running(generations.beat(), generations.settle(), cached.run())
        )
        observe_counts(
            meter,
            fetches=recorder.counts,
            generations=generations.counts,
            backfills=cached.counts,
        )
        flights = SingleFlight[tuple[Namespace, str, str], bytes]()
        stack.push_async_callback(flights.close)

        schemas = Schemas(upstream, clock, ttl_seconds=settings.schema_ttl_seconds)
        warm_jobs = JobBook[WarmJob]("warm job")
        warm_runner = JobRunner(warm_jobs, clock)
        observe_counts(meter, warm_jobs=warm_runner.counts)
        stack.push_async_callback(warm_runner.close)
        limits = WarmLimits(
            ttl_seconds=settings.document_ttl_seconds,
            documents_per_second=settings.warm_documents_per_second,
            margin_ms=settings.watermark_margin_ms,
        )
        warm = WarmNamespace(
            tools=WarmTools(upstream, generations, cache, clock, limits),
            schemas=schemas,
            jobs=warm_jobs,
            runner=warm_runner,
            new_id=random_id,
        )
        servicer = DocumentServicer(
            FetchDocuments(upstream, schemas, generations, cached, flights, clock),
            generations,
            warm,
            warm_jobs,
            ReadWarm(cache, generations),
            ReadMetadata(
                upstream,
                SnapshotReader(store, cache),
                clock,
                margin_ms=settings.watermark_margin_ms,
            ),
            recorder,
            clock,
        )

        def register(server: grpc.aio.Server) -> None:
            document_pb2_grpc.add_DocumentServiceServicer_to_server(servicer, server)

        name = document_pb2.DESCRIPTOR.services_by_name["DocumentService"].full_name
        yield Service(register, [name])
